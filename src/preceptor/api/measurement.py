"""What ``evaluate`` measures: a part of the runs' own data, another data set, or an export."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from preceptor.api.inputs import PathLike
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import has_mark, name_when_whole, refuse_unwritable, write_output
from preceptor.utils.path_names import shortest_endings
from preceptor.utils.plain_yaml import load_yaml
from preceptor.utils.text_files import read_text

if TYPE_CHECKING:
    import pandas as pd

    from preceptor.evaluation.class_map import Mapped
    from preceptor.runs.directory import Run
    from preceptor.runs.external import OtherData

#: A class map (:func:`preceptor.evaluation.class_map.map_classes`), or the YAML file that holds it.
ClassesLike = Mapping[str, "str | Sequence[str] | None"] | PathLike
#: Of what an evaluation writes, the file that comes first, by which the folder of one that was killed is known.
_FIRST, _MARK = "predictions.csv", b"id,part,network"
_FILES = (_FIRST, "metrics.json", "relations.npz", "external.json", "images.csv")
_PAGE = "report"  # the name of the report on other data, and of the files beside it


@dataclass(frozen=True)
class EvaluationResult:
    """What :func:`evaluate` measured.

    Attributes:
        task: of the runs, such as ``classification``.
        part: ``test``, ``validation``, or the name of the other data set.
        metrics: network → its metrics; of several runs ``run/network``.
        relations: network → its distances to the teacher's relations (of classifiers).
        predictions: one table for each network.
        unavailable: frozen networks that could not be measured → why.
        added: what the run lacked and has now, in words.
        notes: what must be known of the comparison with other data, in sentences.
        out: the folder that metrics and predictions were written to.
        page: the report on other data, in ``out``.
    """

    task: str
    part: str
    metrics: Mapping[str, Mapping[str, Any]]
    relations: Mapping[str, Mapping[str, Any]]
    predictions: list[pd.DataFrame]
    unavailable: Mapping[str, str] = field(default_factory=dict)
    added: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    out: Path | None = None
    page: Path | None = None


def of_own_parts(
    paths: Sequence[Path], part: str, root: Path | None, out: Path | None, cache: Path | None
) -> EvaluationResult:
    """Measure runs on a part of their own data."""
    from preceptor.runs.directory import Run

    names = names_of(paths)
    _require_one_task([Run(path) for path in paths])
    results = [
        _of_own_part(path, part, root, out if len(paths) == 1 else out and out / name, cache)
        for path, name in zip(paths, names, strict=True)
    ]
    return EvaluationResult(
        results[0].task,
        part,
        _joined(names, [result.metrics for result in results]),
        _joined(names, [result.relations for result in results]),
        [table for result in results for table in result.predictions],
        _joined(names, [result.unavailable for result in results]),
        tuple(name for result in results for name in result.added),
        out=out,
    )


def _of_own_part(path: Path, part: str, root: Path | None, out: Path | None, cache: Path | None) -> EvaluationResult:
    import numpy as np

    from preceptor.data.batches import Loader
    from preceptor.data.cache import open_pixels
    from preceptor.data.split import parts_of
    from preceptor.evaluation.array_files import RELATIONS
    from preceptor.evaluation.evaluate import best_device
    from preceptor.evaluation.predictions import write_predictions
    from preceptor.runs.artifacts import write_artifacts
    from preceptor.runs.directory import Run
    from preceptor.runs.evaluate_run import evaluate_part
    from preceptor.runs.load_networks import add_relations, finished_networks
    from preceptor.tasks import TASKS

    run = Run(path) if root is None else Run(path).with_root(root)
    loaded, unavailable = finished_networks(run)
    networks = {name: network.to(best_device()) for name, network in loaded.items()}
    catalog = run.catalog()
    rows = np.flatnonzero(parts_of(run.split, catalog.table["id"]) == part)
    if not len(rows):
        raise PreceptorError(f"{path}: has no {part} part", expected="test, under protocol: paper")
    recipe = run.recipe
    task = TASKS[recipe.task]
    side = next(iter(networks.values())).architecture.image_size
    pixels = open_pixels(catalog, side, masks=task.needs_masks, directory=cache)
    loader = Loader(pixels, task.targets(catalog), rows, best_device())
    ids = catalog.table["id"].iloc[rows].tolist()
    result = evaluate_part(recipe, networks, loader, ids, task.classes(catalog), part)
    added: list[str] = []
    if part == "test":
        if result.relations and add_relations(run, result.relations, ids):
            added.append("relations")
        added += write_artifacts(run.path, recipe, networks, loader, ids, result, missing=True)
    related = result.relations.plain() if result.relations else {}
    if out is not None:
        figures = {
            name: metrics | ({"relations": related[name]} if name in related else {})
            for name, metrics in result.metrics.items()
        }
        write_predictions(result.predictions, out / _FIRST)
        write_output(out / "metrics.json", json.dumps(figures, indent=2) + "\n")
        if result.relations:
            result.relations.write_matrices(ids, out / RELATIONS)
    return EvaluationResult(recipe.task, part, result.metrics, related, result.predictions, unavailable, tuple(added))


def of_other_data(
    paths: Sequence[Path], other: OtherData, skip_known: bool, out: Path | None, cache: Path | None
) -> EvaluationResult:
    """Measure runs on another data set and, with ``out``, write the report on it."""
    from preceptor.data.copies import Contents
    from preceptor.report.carried_over import sentences
    from preceptor.report.external_report import write_external_report
    from preceptor.report.out_of_distribution import separation_sentences
    from preceptor.runs.directory import Run
    from preceptor.runs.external import measure_external
    from preceptor.runs.known_images import known_images

    names, runs = names_of(paths), [Run(path) for path in paths]
    _require_one_task(runs)
    for run in runs:
        run.require_finished()
        other.mapped_to(run)
    catalog = other.data.catalog()
    known = known_images(runs, Contents(catalog), other.data.options)
    if not skip_known:
        known.refuse(other.name, len(catalog), "leave them out: --skip-known")
    results = [measure_external(run, other, known=known.parts, notes=known.notes, cache=cache) for run in runs]
    page = None
    if out is not None:
        for name, result in zip(names, results, strict=True):
            result.write(out if len(names) == 1 else out / name)
        page = write_external_report(results, out / f"{_PAGE}.html")
    return EvaluationResult(
        results[0].record.task,
        other.name,
        _joined(names, [result.metrics for result in results]),
        _joined(names, [result.relations.plain() if result.relations else {} for result in results]),
        [result.predictions for result in results],
        _joined(names, [result.unavailable for result in results]),
        notes=(*sentences(results), *separation_sentences(results, names)),
        out=out,
        page=page,
    )


def of_export(
    folder: Path,
    data: str | None,
    root: Path | None,
    options: dict[str, Any],
    exclude: tuple[str, ...],
    out: Path | None,
    cache: Path | None,
    precision: Literal["float", "int8"],
) -> EvaluationResult:
    """Measure an exported network on labelled images.

    An export does not know which images its network learned from, but it knows the data set, and refuses it as a whole.
    """
    from preceptor.data.readers import read
    from preceptor.deploy.onnx_evaluate import EXPORTED, evaluate_export
    from preceptor.deploy.onnx_model import OnnxModel
    from preceptor.evaluation.predictions import write_predictions

    model = OnnxModel(folder, precision)
    if data is None:
        raise PreceptorError(
            f"{folder}: is an export, which has no data of its own", expected="the reader of labelled images",
            remedy=f"preceptor evaluate {folder} --data READER --root FOLDER",
        )  # fmt: skip
    whole, source = read(data, root, options), model.manifest.source
    catalog = whole.without(exclude) if exclude else whole
    if catalog.fingerprint() == source.data["fingerprint"]:
        raise PreceptorError(
            f"{folder}: its network learned from images of this data set, and all of them would be measured",
            expected="images that it never saw",
            remedy=f"leave out those that split.csv of the run {source.run} has in another part than test, --exclude "
            "FILE; or measure that run, not its export: preceptor evaluate measures its own test part",
        )
    unknown = f"An export does not know which images its network learned from (run {source.run}, {source.data['name']})"
    figures, predictions = evaluate_export(model, catalog, part=data, cache=cache)
    if out is not None:
        write_predictions([predictions], out / _FIRST)
        write_output(out / "metrics.json", json.dumps({EXPORTED: figures}, indent=2) + "\n")
    notes = [f"{unknown}: if some of them are among these, the figures are too good."]
    if left_out := len(catalog) - predictions["id"].nunique():
        notes.append(f"Left out: {left_out} images without a label.")
    return EvaluationResult(
        model.manifest.task, data, {EXPORTED: figures}, {}, [predictions], notes=tuple(notes), out=out
    )


def read_class_map(classes: ClassesLike | None) -> Mapped:
    """Return a class map as given, or as a YAML file holds it.

    Raises:
        PreceptorError: the file is missing or holds something else.
    """
    if classes is None or isinstance(classes, Mapping):
        return classes or {}
    path = Path(classes).expanduser()
    expected = "class of the other data: class of the run, a list of them, or null"
    content = load_yaml(read_text(path, "a class map in YAML"), str(path), expected)
    if not isinstance(content, dict) or not all(_is_entry(value) for value in content.values()):
        raise PreceptorError(f"{path}: is not a class map", expected=expected)
    return {str(name): _as_text(value) for name, value in content.items()}


def _require_one_task(runs: Sequence[Run]) -> None:
    tasks = sorted({run.recipe.task for run in runs})
    if len(tasks) > 1:
        raise PreceptorError(f"the runs have different tasks: {', '.join(tasks)}", expected="runs of one task")


def names_of(paths: Sequence[Path]) -> list[str]:
    """Return short names of runs that differ, fit for folders.

    Raises:
        PreceptorError: a run is given twice.
    """
    places = [path.resolve() for path in paths]
    for place in places:
        if places.count(place) > 1:
            raise PreceptorError(f"{place} is given {places.count(place)} times", remedy="name each run once")
    return [label.replace("/", "-") for label in shortest_endings(places)]


def refuse_foreign_folder(folder: Path, paths: Sequence[Path]) -> None:
    """Raise unless a folder is new, empty, or holds nothing but an earlier evaluation of the same runs."""
    refuse_unwritable(folder)
    if folder.is_file():
        raise PreceptorError(f"--out {folder}: is a file", expected="a folder that is new or empty")
    if not folder.is_dir():
        return
    names = names_of(paths) if len(paths) > 1 else []
    places = [folder / name for name in names] or [folder]
    begun = [place for place in places if _is_begun(place)]
    strange = [path for place in places if place not in begun for path in _other_than_halves(place)]
    own = (*names, *_FILES) if begun else names
    for path in folder.iterdir() if begun or names else []:
        name = name_when_whole(path)
        if name not in own and not (begun and name.startswith(f"{_PAGE}.")):
            strange.append(path)
    for path in sorted(strange):
        raise PreceptorError(
            f"--out {folder}: holds {str(path.relative_to(folder))!r}, which no evaluation wrote",
            expected="a folder that is new, empty, or holds an earlier evaluation",
            remedy="name another folder",
        )


def _is_begun(place: Path) -> bool:
    """Whether an evaluation has written its first file here, however it ended."""
    table = place / _FIRST
    return table.is_file() and has_mark(table, [_MARK])


def _other_than_halves(place: Path) -> list[Path]:
    """What lies in a folder beside halves of an evaluation's first file; a file in its place itself."""
    if not place.is_dir():
        return [place] if place.exists() else []
    return [path for path in place.iterdir() if path.name == _FIRST or name_when_whole(path) != _FIRST]


def _joined(names: Sequence[str], of_runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join what each run has by network; of several runs under ``run/network``."""
    if len(names) == 1:
        return dict(of_runs[0])
    return {f"{name}/{key}": value for name, run in zip(names, of_runs, strict=True) for key, value in run.items()}


def _is_entry(value: Any) -> bool:
    names = value if isinstance(value, list) else [] if value is None else [value]
    return all(isinstance(name, str | int) for name in names)


def _as_text(value: Any) -> Any:
    return [str(name) for name in value] if isinstance(value, list) else None if value is None else str(value)
