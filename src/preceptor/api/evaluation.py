"""``evaluate``: the networks of a finished run measured again, on its own data or on other data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from preceptor.api.inputs import (
    ExcludeLike,
    OverridesLike,
    PathLike,
    announce,
    excluded_ids,
    optional_path,
    reader_options,
    shows_progress,
)
from preceptor.utils.errors import PreceptorError
from preceptor.utils.extras import require_training
from preceptor.utils.files import has_mark, refuse_unwritable, write_output
from preceptor.utils.imports import import_files

if TYPE_CHECKING:
    import pandas as pd

    from preceptor.networks.kinds import Network


@dataclass(frozen=True)
class EvaluationResult:
    """What :func:`evaluate` measured.

    Attributes:
        task: of the run, such as ``classification``.
        part: ``test``, ``validation``, or the name of the other data set.
        metrics: network → its metrics.
        relations: network → its distances to the teacher's relations (of classifiers).
        predictions: one table for each network.
        unavailable: frozen networks that could not be measured → why.
        added: what the run lacked and has now, in words.
        out: the folder that metrics and predictions were written to.
    """

    task: str
    part: str
    metrics: Mapping[str, Mapping[str, Any]]
    relations: Mapping[str, Mapping[str, Any]]
    predictions: list[pd.DataFrame]
    unavailable: Mapping[str, str] = field(default_factory=dict)
    added: tuple[str, ...] = ()
    out: Path | None = None


def evaluate(
    run: PathLike,
    overrides: OverridesLike = (),
    *,
    part: str = "test",
    data: str | None = None,
    root: PathLike | None = None,
    out: PathLike | None = None,
    exclude: ExcludeLike = (),
    cache: PathLike | None = None,
    precision: Literal["float", "int8"] = "float",
    imports: Iterable[PathLike] = (),
    progress: bool | None = None,
) -> EvaluationResult:
    """Measure the networks of a finished run from their files, on a part of its data or on other data.

    An exported network is measured on ONNX Runtime, on the data that are named; it knows none of its own.

    A run that was finished without relations, layers or overlays of its test part gets them.

    Args:
        run: the run's folder, or a folder that ``preceptor export`` wrote.
        overrides: options of the other data's reader, ``data.key=value``.
        part: ``test`` or ``validation``, of the run's own data.
        data: a reader's name: all images of other data with the same classes instead.
        root: the other data's folder; without ``data``, where the run's own data lie now, if they were moved.
        out: a folder for ``metrics.json`` and ``predictions.csv``.
        exclude: ids of the other data to leave out, or a file with one a line.
        cache: where decoded images are kept.
        precision: which model of an export.
        imports: Python files that register what the run needs.
        progress: whether to show progress; in a terminal or notebook unless given.

    Raises:
        PreceptorError: the run is unfinished, the data are gone or of other classes, or ``out`` cannot be written.
    """
    import_files(imports)
    shown, folder = shows_progress(progress), optional_path(out)
    if data is None and part not in ("test", "validation"):
        raise PreceptorError(f"--part {part}: no such part", expected="test or validation")
    if data is None and (overrides or exclude):
        raise PreceptorError("--exclude and data.key=value belong to other data", remedy="name its reader with --data")
    if folder is not None:
        _refuse_foreign_folder(folder)
    options = reader_options(overrides, data) if data is not None else {}
    ids = excluded_ids(exclude)
    announce(f"evaluating {run}", shown)
    from preceptor.deploy.manifest import is_export

    if is_export(Path(run).expanduser()):
        return _evaluate_export(
            Path(run).expanduser(), data, optional_path(root), options, ids, folder, optional_path(cache), precision
        )
    if precision != "float":
        raise PreceptorError(
            f"--precision {precision}: {run} is not an export", expected="a folder that preceptor export wrote"
        )
    if not Path(run).expanduser().is_dir():
        raise PreceptorError(f"{run}: there is no such run or export", expected="a run's folder, or an export's")
    require_training()
    import numpy as np

    from preceptor.data.batches import Loader
    from preceptor.data.cache import open_pixels
    from preceptor.data.split import parts_of
    from preceptor.evaluation.evaluate import best_device
    from preceptor.evaluation.predictions import write_predictions
    from preceptor.evaluation.relations import RELATIONS
    from preceptor.runs.artifacts import keep_pictures
    from preceptor.runs.data import Data
    from preceptor.runs.directory import Run
    from preceptor.runs.evaluate_run import evaluate_part
    from preceptor.runs.leakage import warn_of_known_images
    from preceptor.runs.load_networks import add_relations, finished_networks
    from preceptor.tasks import TASKS

    source = Run(Path(run))
    if data is None and root is not None:
        source = source.with_root(Path(root))
    loaded, unavailable = finished_networks(source)
    networks = {name: network.to(best_device()) for name, network in loaded.items()}
    if data is not None:
        catalog = Data(data, optional_path(root), options, ids).catalog()
        warn_of_known_images(source, data, catalog.table["id"])
        part, rows = data, np.arange(len(catalog))
    else:
        catalog = source.catalog()
        rows = np.flatnonzero(parts_of(source.split, catalog.table["id"]) == part)
        if not len(rows):
            raise PreceptorError(f"{run}: has no {part} part", expected="test, under protocol: paper")
    recipe = source.recipe
    task = TASKS[recipe.task]
    classes = task.classes(catalog)
    _refuse_other_classes(networks, classes, catalog.name)
    side = next(iter(networks.values())).architecture.image_size
    pixels = open_pixels(catalog, side, masks=task.needs_masks, directory=optional_path(cache))
    loader = Loader(pixels, TASKS[recipe.task].targets(catalog), rows, best_device())
    row_ids = catalog.table["id"].iloc[rows].tolist()
    result = evaluate_part(recipe, networks, loader, row_ids, classes, part)
    relations = result.relations
    related = relations.plain() if relations else {}
    added: list[str] = []
    if data is None and part == "test":
        if relations and add_relations(source, relations, row_ids):
            added.append("relations")
        added += keep_pictures(source.path, recipe, networks, loader, row_ids, result, missing=True)
    if folder is not None:
        figures = {
            name: metrics | ({"relations": related[name]} if name in related else {})
            for name, metrics in result.metrics.items()
        }
        write_output(folder / "metrics.json", json.dumps(figures, indent=2) + "\n")
        write_predictions(result.predictions, folder / "predictions.csv")
        if relations:
            relations.write_matrices(row_ids, folder / RELATIONS)
    return EvaluationResult(
        recipe.task, part, result.metrics, related, result.predictions, unavailable, tuple(added), folder
    )


def _evaluate_export(
    folder: Path,
    data: str | None,
    root: Path | None,
    options: dict[str, Any],
    exclude: tuple[str, ...],
    out: Path | None,
    cache: Path | None,
    precision: Literal["float", "int8"],
) -> EvaluationResult:
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
    catalog = read(data, root, options)
    figures, predictions = evaluate_export(
        model, catalog.without(exclude) if exclude else catalog, part=data, cache=cache
    )
    if out is not None:
        write_output(out / "metrics.json", json.dumps({EXPORTED: figures}, indent=2) + "\n")
        write_predictions([predictions], out / "predictions.csv")
    return EvaluationResult(model.manifest.task, data, {EXPORTED: figures}, {}, [predictions], out=out)


def _refuse_foreign_folder(folder: Path) -> None:
    """Raise unless the folder is new, empty, or holds nothing but an earlier evaluation."""
    refuse_unwritable(folder)
    if folder.is_file():
        raise PreceptorError(f"--out {folder}: is a file", expected="a folder that is new or empty")
    if not folder.is_dir():
        return
    table = folder / "predictions.csv"
    own = table.is_file() and has_mark(table, [b"id,part,network"])
    for path in sorted(folder.iterdir()):
        if not own or path.name not in ("metrics.json", "predictions.csv", "relations.npz"):
            raise PreceptorError(
                f"--out {folder}: holds {path.name!r}, which no evaluation wrote",
                expected="a folder that is new, empty, or holds an earlier evaluation",
                remedy="name another folder",
            )


def _refuse_other_classes(networks: Mapping[str, Network], classes: tuple[str, ...], data: str) -> None:
    for name, network in networks.items():
        if network.architecture.classes != classes:
            raise PreceptorError(
                f"{name} tells apart {', '.join(network.architecture.classes)}; {data} has {', '.join(classes)}",
                expected="data with the network's classes, in the same order",
            )
