"""What is damaged, and how it is read afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from preceptor.api.data_sets import check_data
from preceptor.api.exporting import export
from preceptor.api.prediction import load, predict
from preceptor.api.reporting import report
from preceptor.api.training import train
from preceptor.data.cache import open_pixels
from preceptor.data.phantom import Phantom, write_phantom
from preceptor.recipes.overrides import split_overrides
from preceptor.recipes.resolve import resolve
from preceptor.runs.data import Data
from preceptor.runs.directory import Run
from preceptor.runs.resumable import check_unchanged
from preceptor.study.plan import read_plan
from preceptor.study.state import read_cells, read_resolved_plan, recorded_outcomes, refuse_other_study
from preceptor.training.checkpoint import load_state
from preceptor.tune.store import open_study
from preceptor.utils.text_files import read_ids
from tests.storm.jobs import JOBS, KNOBS, prepare_folder
from tests.storm.mutations import BINARY, JSON, TABLE, TEXT, YAML, Mutation
from tests.storm.process import run

Reading = Callable[[Path], Any]


@dataclass(frozen=True)
class Target:
    """One file of a folder that is damaged, and what is then done with the folder.

    Attributes:
        folder: a whole and healthy one.
        file: in it.
        read: does it; whatever is returned is compared where ``exact``.
        exact: whether a checksum or hash guards the file, so that anything but the healthy result is a fault.
        others: files of the folder that may be exchanged with it.
        share: how many mutants it gets, relative to the other targets.
    """

    name: str
    folder: Path
    file: str
    mutations: Sequence[Mutation]
    read: Reading
    exact: bool = False
    others: Sequence[str] = ()
    share: int = 4


def build_targets(work: Path) -> list[Target]:
    """Train what is damaged: a distilled student with its teacher, and a segmenter; seconds each."""
    root, kd, masks = work / "phantom", work / "kd", work / "masks"
    if not root.is_dir():
        write_phantom(root, Phantom(**KNOBS))  # type: ignore[arg-type]
    for job, out in ((JOBS[1], kd), (JOBS[3], masks)):
        if not (out / "report.html").is_file():
            recipe, task = job.words[1], "segmentation" if "segmentation" in job.words else None
            settings = [word for word in job.words if "=" in word]
            train(recipe, settings, data="phantom", root=root, out=out, task=task, progress=False)
    inputs = _inputs(work, root)
    return [
        *_of_runs(kd, masks),
        *_of_weights(kd),
        *_of_inputs(inputs),
        *_of_cache(work, root),
        *_of_export(work, kd),
        *_of_plans(work, root),
    ]


def _of_runs(kd: Path, masks: Path) -> list[Target]:
    files: list[tuple[str, Sequence[Mutation]]] = [
        ("recipe.yaml", YAML),
        ("environment.json", JSON),
        ("metrics.json", JSON),
        ("split.csv", TABLE),
        ("history.csv", TABLE),
        ("predictions.csv", TABLE),
        ("layers.npz", BINARY),
    ]
    targets = [Target(f"read {name}", kd, name, kinds, _read_run, share=6) for name, kinds in files[:6]]
    targets += [Target(f"report {name}", kd, name, kinds, _report, share=2) for name, kinds in files]
    targets += [Target("report relations.npz", kd, "relations.npz", BINARY, _report, share=2)]
    targets += [Target(f"report masks {name}", masks, name, kinds, _report, share=1) for name, kinds in files[1:6]]
    targets += [Target("report overlays.npz", masks, "overlays.npz", BINARY, _report, share=1)]
    targets += [
        Target("go on, split.csv", kd, "split.csv", TABLE, _unchanged_split, exact=True, share=6),
        Target("go on, recipe.yaml", kd, "recipe.yaml", YAML, _unchanged_recipe, exact=True, share=6),
    ]
    return targets


def _of_weights(kd: Path) -> list[Target]:
    return [
        Target(
            "weights",
            kd,
            "student.safetensors",
            BINARY,
            _weights,
            exact=True,
            others=("teacher/teacher.safetensors", "layers.npz", "recipe.yaml"),
            share=16,
        ),
        Target("weights of the teacher", kd, "teacher/teacher.safetensors", BINARY, _teacher, exact=True, share=6),
        Target(
            "checkpoint",
            kd,
            "checkpoints/last.pt",
            BINARY,
            _checkpoint("last.pt"),
            exact=True,
            others=("layers.npz", "student.safetensors"),
            share=16,
        ),
        Target("best checkpoint", kd, "checkpoints/best.pt", BINARY, _checkpoint("best.pt"), exact=True, share=6),
    ]


def _of_inputs(inputs: Path) -> list[Target]:
    return [
        Target("image to predict, PNG", inputs, "photo.png", BINARY, _predict("photo.png"), share=8),
        Target("image to predict, JPEG", inputs, "photo.jpg", BINARY, _predict("photo.jpg"), share=8),
        Target("image of a folder", inputs, "classes/a/0.png", BINARY, _check_folder, share=6),
        Target("table", inputs, "table.csv", TABLE, _read_table, share=14),
        Target("recipe", inputs, "recipe.yaml", YAML, lambda folder: resolve(str(folder / "recipe.yaml")), share=16),
        Target("plan", inputs, "plan.yaml", YAML, _read_plan, share=16),
        Target("options", inputs, "options.txt", TEXT, _read_options, share=12),
        Target("list of ids", inputs, "exclude.txt", TEXT, lambda folder: read_ids(folder / "exclude.txt"), share=4),
    ]


def _of_cache(work: Path, root: Path) -> list[Target]:
    cache = work / "cache"
    catalog = Data("phantom", root).catalog()
    entry = open_pixels(catalog, 32, directory=cache).entry
    assert entry is not None

    def read(folder: Path) -> Any:
        return open_pixels(catalog, 32, directory=folder).fetch(np.arange(len(catalog)))[0]

    names = ("images.npy", "checksums.npy")
    return [Target(f"cache {name}", cache, f"{entry.name}/{name}", BINARY, read, exact=True, share=4) for name in names]


def _of_export(work: Path, kd: Path) -> list[Target]:
    folder = work / "export"
    if not folder.is_dir():
        export(kd, out=folder, progress=False)
    shutil.copy(work / "inputs" / "photo.png", folder.with_name("photo.png"))

    def read(place: Path) -> Any:
        return predict(place, work / "photo.png", progress=False).table.to_dict("list")

    return [
        Target("export model.onnx", folder, "model.onnx", BINARY, read, exact=True, share=6),
        Target("export export.json", folder, "export.json", JSON, read, share=6),
    ]


def _of_plans(work: Path, root: Path) -> list[Target]:
    """Records of a study and of a search, from which they continue."""
    folders = {job.name: work / job.name for job in JOBS if not job.resumable}
    for job in JOBS:
        if job.name in folders and not job.finished(folders[job.name]):
            shutil.rmtree(folders[job.name], ignore_errors=True)
            prepare_folder(folders[job.name])
            run(job.command(folders[job.name], root), folders[job.name])
    study, search = folders["study"] / "run", folders["search"] / "run"

    def read_study(folder: Path) -> Any:
        plan = read_resolved_plan(folder)
        refuse_other_study(folder, plan)
        return read_cells(folder), recorded_outcomes(folder)

    def read_search(folder: Path) -> Any:
        return [trial.values for trial in open_study(folder / "trials.db", None).trials]

    return [
        Target("study study.yaml", study, "study.yaml", YAML, read_study, share=6),
        Target("study cells.json", study, "cells.json", JSON, read_study, share=6),
        Target("study environment.json", study, "environment.json", JSON, read_study, share=3),
        Target("search trials.db", search, "trials.db", BINARY, read_search, share=6),
    ]


def _inputs(work: Path, root: Path) -> Path:
    """Files that users bring, healthy."""
    from PIL import Image

    inputs = work / "inputs"
    shutil.rmtree(inputs, ignore_errors=True)
    images = sorted((root / "images").iterdir())
    for number, path in enumerate(images[:12]):
        for name in (f"classes/{'abc'[number % 3]}/{number // 3}.png", f"images/{number}.png"):
            (inputs / name).parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).convert("RGB").save(inputs / name)
    Image.open(images[0]).convert("RGB").save(inputs / "photo.png")
    Image.open(images[0]).convert("RGB").save(inputs / "photo.jpg")
    shutil.copy(work / "kd" / "student.safetensors", inputs)
    rows = [f"images/{number}.png,{'abc'[number % 3]},p{number // 2}" for number in range(12)]
    (inputs / "table.csv").write_text("\n".join(["image,label,patient", *rows, ""]), encoding="utf-8")
    shutil.copy(work / "kd" / "recipe.yaml", inputs)
    (inputs / "plan.yaml").write_text(_plan(), encoding="utf-8")
    (inputs / "options.txt").write_text("\n".join(JOBS[1].words[4:]), encoding="utf-8")
    (inputs / "exclude.txt").write_text("\n".join(f"images/{number}" for number in range(8)), encoding="utf-8")
    return inputs


def _plan() -> str:
    from preceptor.study.plan import shipped

    return shipped()[sorted(shipped())[0]].read_text(encoding="utf-8")


def _read_run(folder: Path) -> Any:
    run = Run(folder)
    for name in ("recipe", "environment", "metrics", "split", "history", "predictions", "planned"):
        getattr(run, name)
    return repr(run), run._repr_html_(), run.settled_networks()


def _report(folder: Path) -> Any:
    return report(folder, out=folder / "report.html", progress=False)


def _unchanged_split(folder: Path) -> Any:
    run = Run(folder)
    check_unchanged(run)
    return sorted(run.split[["id", "group", "part", "label"]].itertuples(index=False, name=None))


def _unchanged_recipe(folder: Path) -> Any:
    run = Run(folder)
    check_unchanged(run)
    return run.recipe.plain()


def _weights(folder: Path) -> Any:
    return _tensors(load(folder, "student"))


def _teacher(folder: Path) -> Any:
    return _tensors(load(folder, "teacher"))


def _tensors(network: torch.nn.Module) -> Any:
    return dict(network.state_dict())


def _checkpoint(name: str) -> Reading:
    return lambda folder: load_state(folder / "checkpoints" / name)


def _predict(name: str) -> Reading:
    return lambda folder: predict(folder / "student.safetensors", folder / name, progress=False).table.to_dict("list")


def _check_folder(folder: Path) -> Any:
    return str(check_data("folder", folder / "classes", progress=False))


def _read_table(folder: Path) -> Any:
    catalog = Data("table", folder / "table.csv", {"group": "patient"}).catalog()
    return catalog.fingerprint(), str(catalog.table.to_dict("list"))


def _read_plan(folder: Path) -> Any:
    return read_plan(str(folder / "plan.yaml")).plain()


def _read_options(folder: Path) -> Any:
    words = (folder / "options.txt").read_bytes().decode("utf-8", "surrogateescape").split("\n")
    settings, options = split_overrides(words, "phantom")
    return resolve("kd", settings).plain(), options
