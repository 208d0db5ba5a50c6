"""Grad-CAM of teacher, student alone and distilled student on test images that distillation corrected."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from preceptor.data.catalog import Catalog
from preceptor.data.images import read_image, resize
from preceptor.evaluation.evaluate import best_device
from preceptor.evaluation.grad_cam import grad_cam
from preceptor.evaluation.map_size import LEAST_CELLS, coarseness, in_cells, shows_places
from preceptor.evaluation.score_columns import PREFIX
from preceptor.networks.classifier import Classifier
from preceptor.networks.modes import evaluating
from preceptor.report import entries as finished
from preceptor.report.entries import Entry, entries_of
from preceptor.report.gallery import TILE, Case, Explained, Gallery, Map, encode, write_gallery
from preceptor.report.heat_map import overlay
from preceptor.report.network_predictions import class_words
from preceptor.runs.directory import Run
from preceptor.runs.load_networks import finished_networks
from preceptor.runs.marks import NOT_EVIDENCE
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError

PER_CLASS = 2


@dataclass(frozen=True)
class Picked:
    """Test images for a gallery.

    Attributes:
        ids: class by class, the most confident first.
        total: number of such images in the test part.
        story: sentences on which images these are.
    """

    ids: list[str]
    total: int
    story: tuple[str, ...]


def explain(
    path: Path, alone: Path | None = None, *, network: str | None = None, per_class: int = PER_CLASS,
    out: Path | None = None,
) -> Gallery:  # fmt: skip
    """Write ``explain.json``, ``explain.html`` and ``explain.png`` on a distilled student.

    Args:
        path: the run that distilled it.
        alone: the run of the student alone, on the same split; by default the one in a folder beside ``path``.
        network: the student's name in ``path``; by default ``student``, or the only network that was trained.
        per_class: images shown of each class at most.
        out: the folder to write to; by default the run's own, whose reports then embed the gallery.

    Raises:
        PreceptorError: a run is unfinished, was split otherwise, lacks such a network or a distilled one, or its data
            are gone; or a network's last feature map has too few cells to show a place.
    """
    distilled = _entry(_of_classes(finished.load_run(path)), network)
    _refuse_undistilled(distilled)
    single = _entry(_of_classes(finished.load_run(alone)), None) if alone else _beside(distilled)
    _refuse_other_images(distilled, single)
    teacher = next((entry for entry in entries_of([distilled.run]) if entry.kind in finished.TEACHERS.values()), None)
    entries = {"teacher": teacher, "student alone": single, "distilled": distilled}
    networks = {title: _Network(entry) for title, entry in entries.items() if entry is not None}
    _refuse_few_cells(networks)
    picked = pick(distilled, single, teacher, per_class)
    catalog = Run(path).catalog()
    gallery = Gallery(
        title=f"{distilled.run.label} beside {single.run.label}",
        story=(*picked.story, _legend(networks["distilled"])),
        networks=tuple(Explained(title, each.backbone, each.source) for title, each in networks.items()),
        cases=tuple(_case(name, catalog, list(networks.values())) for name in picked.ids),
        quick=tuple(entry.run.label for entry in (distilled, single) if entry.run.mark == NOT_EVIDENCE),
    )
    write_gallery(gallery, out or path)
    return gallery


def pick(distilled: Entry, alone: Entry, teacher: Entry | None, per_class: int) -> Picked:
    """Choose images that teacher and distilled student get right and the student alone gets wrong.

    Of each class the ``per_class`` to which the distilled student gives the highest probability, at most one of a group
    (lesion, patient). Without any such image, those that the distilled student alone gets right; without these, its
    most confident right predictions.
    """
    table = distilled.predictions.set_index("id")
    target = table["target"]
    right = table["predicted"] == target
    corrected = right & (alone.predictions.set_index("id")["predicted"].reindex(table.index) != target)
    options = [(corrected, "The distilled student gets {} right that the student alone gets wrong{}.")]
    if teacher is not None:
        with_teacher = corrected & (teacher.predictions.set_index("id")["predicted"].reindex(table.index) == target)
        sentence = "Teacher and distilled student get {} right that the student alone gets wrong{}."
        options.insert(0, (with_teacher, sentence))
    options.append((right, "The distilled student gets {} right{}."))
    story = []
    for wanted, sentence in options:
        count = int(wanted.sum())
        images = f"{count} test image{'' if count == 1 else 's'}" if count else "no test image"
        ids = _most_confident(table[wanted], distilled.run.split, distilled.run.classes, per_class)
        shown = f"; shown are up to {per_class} of each class, the most confident first" if count else ""
        story.append(sentence.format(images, shown))
        if count:
            break
    return Picked(ids, count, tuple(story))


def _most_confident(rows: pd.DataFrame, split: pd.DataFrame, classes: list[str], per_class: int) -> list[str]:
    groups = split.set_index("id")["group"]
    ids: list[str] = []
    for name in classes:
        of_class = rows[rows["target"] == name]
        ranked = pd.DataFrame({"sure": of_class[PREFIX + name], "group": groups.reindex(of_class.index)})
        ranked = ranked.sort_index().sort_values("sure", ascending=False, kind="stable").drop_duplicates("group")
        ids += [str(name) for name in ranked.index[:per_class]]
    return ids


class _Network:
    """A finished network with its test predictions, ready to be explained."""

    def __init__(self, entry: Entry) -> None:
        networks, lost = finished_networks(Run(entry.run.path))
        if entry.name in lost:
            raise PreceptorError(lost[entry.name], remedy="put the run that trained it back where it was")
        network = networks[entry.name]
        if not isinstance(network, Classifier):
            raise PreceptorError(f"{entry.run.path}: {entry.name} draws masks", expected="a run of classifiers")
        self.network = network.to(best_device())
        self.words = class_words(entry.run)
        self.rows: dict[Any, dict[Any, Any]] = entry.predictions.set_index("id").to_dict("index")
        self.side = self.network.architecture.image_size
        with torch.no_grad(), evaluating(self.network):
            blank = torch.zeros(1, 3, self.side, self.side, device=next(self.network.parameters()).device)
            height, width = self.network(blank).feature_map.shape[2:]
        self.cells = (height, width)
        self.backbone, self.source = self.network.architecture.backbone, f"{entry.run.label}, {entry.name}"

    def explain(self, name: str, image: np.ndarray, shown: Image.Image) -> Map:
        """Grad-CAM for the class that it predicted when the run was evaluated, over the picture."""
        row = self.rows[name]
        predicted = str(row["predicted"])
        device = next(self.network.parameters()).device
        pixels = np.array(resize(image, self.side).transpose(2, 0, 1)[None])
        batch = torch.from_numpy(pixels).to(device).float().div_(255)
        heat = grad_cam(self.network, batch, torch.tensor([list(self.words).index(predicted)], device=device))
        picture = encode(overlay(shown, heat[0].float().cpu().numpy()))
        return Map(self.words[predicted], float(row[PREFIX + predicted]), predicted == row["target"], picture)


def _case(name: str, catalog: Catalog, networks: list[_Network]) -> Case:
    row = int(np.flatnonzero(catalog.table["id"] == name)[0])
    image = read_image(catalog.path(row))
    shown = Image.fromarray(image).resize((TILE, TILE), Image.Resampling.BICUBIC)
    maps = tuple(network.explain(name, image, shown) for network in networks)
    return Case(name, networks[0].words[str(catalog.table.at[row, "label"])], encode(shown), maps)


def _legend(distilled: _Network) -> str:
    height, width = distilled.cells
    return (
        "Each map (Grad-CAM) shows which parts of the last feature map raised the score of the predicted class: yellow "
        f"most, violet not at all. At {distilled.side} px the distilled student's map has {in_cells(height, width)}"
        f"{coarseness(height, width)}."
    )


def _refuse_few_cells(networks: Mapping[str, _Network]) -> None:
    """Raise if the last feature map of a network is so small that Grad-CAM would paint an image in one colour."""
    few = {title: each for title, each in networks.items() if not shows_places(*each.cells)}
    if few:
        sizes = [f"{title} ({each.backbone}): {in_cells(*each.cells)} at {each.side} px" for title, each in few.items()]
        least = 2 * max(each.side for each in few.values())
        raise PreceptorError(
            f"Grad-CAM shows no place where the map of the last stage is so small: {'; '.join(sizes)}",
            expected=f"{LEAST_CELLS} cells or more",
            remedy=f"train the networks at a larger image_size, {least} or more",
        )


def _of_classes(run: finished.LabelledRun) -> finished.LabelledRun:
    target = TASKS[run.task].target
    if target != "class":
        labels = target == "labels"
        raise PreceptorError(
            f"{run.path}: its networks {'predict several labels per image' if labels else 'draw masks'}; Grad-CAM "
            f"explains {'the one class of an image' if labels else 'classes'}",
            expected="a run of networks that predict one class an image",
            remedy=f"see {'each label' if labels else 'the outlines of its masks'}: preceptor report {run.path}",
        )
    return run


def _refuse_undistilled(student: Entry) -> None:
    """Raise if the network learned from labels alone."""
    if student.kind == "alone":
        path = student.run.path
        raise PreceptorError(
            f"{path}: was trained alone, by the recipe {student.run.recipe.name}; it has no distilled student to "
            "explain beside one alone",
            expected="a run whose student learned from a teacher, such as one of the recipe kd",
            remedy=f"name that run, and this one as the student alone: preceptor explain RUN --alone {path}",
        )


def _entry(run: finished.LabelledRun, network: str | None) -> Entry:
    entries = {entry.name: entry for entry in entries_of([run]) if entry.kind != "ensemble"}  # which has no gradient
    learned = [entry for entry in entries.values() if entry.role == "trained"]
    if network is None and "student" not in entries and len(learned) == 1:
        return learned[0]
    if (network or "student") not in entries:
        raise PreceptorError(
            f"--network {network or 'student'}: {run.path} has no such network", expected=f"one of {', '.join(entries)}"
        )
    return entries[network or "student"]


def _beside(distilled: Entry) -> Entry:
    """The same backbone trained alone on the same split, in a folder beside the run, of its seed if possible."""
    place = distilled.run.path.resolve()
    candidates = []
    for folder in sorted(place.parent.iterdir()):
        if folder != place and (folder / "metrics.json").is_file():
            with suppress(PreceptorError):  # folders that are not runs are skipped
                entries = entries_of([finished.load_run(folder)])
                candidates += [entry for entry in entries if entry.kind == "alone" and _equal(entry, distilled)]
    candidates.sort(key=lambda entry: entry.run.environment.seed != distilled.run.environment.seed)
    if not candidates:
        raise PreceptorError(
            f"{place.parent} holds no run of a {distilled.result.backbone} trained alone on this split",
            remedy=f"train one with the recipe student, or name it: preceptor explain {distilled.run.path} --alone RUN",
        )
    return candidates[0]


def _equal(one: Entry, other: Entry) -> bool:
    mine, theirs = ((of.run.task, of.result.backbone, of.run.split_hash) for of in (one, other))
    return mine == theirs


def _refuse_other_images(distilled: Entry, alone: Entry) -> None:
    if set(alone.predictions["id"]) != set(distilled.predictions["id"]) or alone.run.classes != distilled.run.classes:
        raise PreceptorError(
            f"{alone.run.path} was not tested on the images that {distilled.run.path} was tested on",
            expected="runs with one split: the same data, fold and split seed",
        )
