"""The networks of a finished run on another data set, with its classes mapped to the run's.

A folder ``external/NAME`` of the run, or one that the user names, holds ``external.json`` (what was measured),
``metrics.json`` (network → metrics), ``predictions.csv`` and ``images.csv`` (group, label and attributes of each
image). ``predictions.csv`` also has the run's own validation part, on which thresholds and temperatures are chosen.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field

from preceptor.data.cache import open_pixels
from preceptor.data.catalog import Catalog
from preceptor.data.image_kinds import kind_notes
from preceptor.data.split import read_split, split_hash
from preceptor.evaluation.class_map import ClassMap, Mapped, map_classes
from preceptor.evaluation.classification import classification_metrics
from preceptor.evaluation.predictions import write_predictions
from preceptor.runs.data import Data
from preceptor.runs.directory import Run
from preceptor.runs.schema import FORMAT, DataRecord, Record, read_json, read_record
from preceptor.runs.tables import read_table
from preceptor.tasks import TASKS, Task
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_text

if TYPE_CHECKING:
    from preceptor.evaluation.relations import PartRelations

FOLDER = "external"  # of a run
RECORD = "external.json"


class ExternalRecord(Record):
    """``external.json``: on what a run was measured.

    Attributes:
        name: what the other data set is called.
        data: the other data.
        classes: that figures are of.
        class_map: class of the other data → one of ``classes``, or None.
        unmapped: images left out because their class has no counterpart.
        known: images left out because the run, or one measured with it, has learned from them.
        unlabelled: images left out because they have no label.
        notes: what must be known of the comparison.
        judged_as: the network's class → one of ``classes``.
        split_hash: of ``images.csv``.
    """

    format: int = FORMAT
    name: str
    data: DataRecord
    task: str
    classes: list[str]
    class_map: dict[str, str | None] = Field(default_factory=dict)
    judged_as: dict[str, str] = Field(default_factory=dict)
    unmapped: int = 0
    known: int = 0
    unlabelled: int = 0
    notes: list[str] = Field(default_factory=list)
    split_hash: str = ""


@dataclass(frozen=True)
class ExternalResult:
    """What the networks of a run do on another data set.

    Attributes:
        run: the run.
        record: on what they were measured.
        class_map: of the run's classes; None for masks.
        metrics: network → its metrics.
        predictions: rows of ``predictions.csv``: the other data under their name, and the run's validation part.
        images: rows of ``images.csv``.
        relations: how alike images of one class are embedded; None where it was not measured or not kept.
        unavailable: frozen networks that could not be measured → why.
    """

    run: Run
    record: ExternalRecord
    class_map: ClassMap | None
    metrics: Mapping[str, Mapping[str, Any]]
    predictions: pd.DataFrame
    images: pd.DataFrame
    relations: PartRelations | None = None
    unavailable: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the result into a folder; ``external.json`` comes last."""
        folder.mkdir(parents=True, exist_ok=True)
        write_predictions([self.predictions], folder / "predictions.csv")
        write_text(folder / "images.csv", self.images.to_csv(index=False))
        write_text(folder / "metrics.json", json.dumps(self.metrics, indent=2) + "\n")
        write_text(folder / RECORD, json.dumps(self.record.plain(), indent=2, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class OtherData:
    """Another data set to measure runs on.

    Attributes:
        name: what it is called in folders and reports.
        data: reader, place and options.
        classes: class of these data → the network's (:func:`preceptor.evaluation.class_map.map_classes`).
    """

    name: str
    data: Data
    classes: Mapped = field(default_factory=dict)

    def mapped_to(self, run: Run) -> ClassMap | None:
        """Return how its classes are judged, None for a task without one class per image.

        Raises:
            PreceptorError: classes without a counterpart, or that the task does not have.
        """
        task = TASKS[run.recipe.task]
        other = task.classes_to_measure(self.data.catalog())
        own = run.metrics.classes if run.finished else run.environment.data.classes
        return class_map(task, own, other, self.classes, self.name)


def class_map(task: Task, own: Collection[str], other: Collection[str], given: Mapped, name: str) -> ClassMap | None:
    """Return how classes of other data are judged; None for masks, whose classes must be the same.

    Raises:
        PreceptorError: classes without a counterpart, merged labels, or masks of other classes.
    """
    if task.target == "mask":
        if given or tuple(own) != tuple(other):
            raise PreceptorError(
                f"{name} has masks of {', '.join(other)}; the networks draw {', '.join(own)}",
                expected="masks of the same classes, in the same order, without --classes",
            )
        return None
    mapped = map_classes(tuple(own), tuple(other), given, name)
    if task.target == "labels" and mapped.merges:
        raise PreceptorError(
            f"class map of {name}: several labels are judged as one", expected="one of the network's labels for each"
        )
    return mapped


def measure_external(
    run: Run, other: OtherData, *, known: Collection[str] = (), notes: Collection[str] = (), cache: Path | None = None
) -> ExternalResult:
    """Measure the networks of a finished run on another data set.

    Args:
        known: ids to leave out, since a run has learned from them.
        notes: what must be known of the comparison, beside what the images look like.
        cache: where decoded images are kept.

    Raises:
        PreceptorError: the run is unfinished, classes have no counterpart, or no image is left.
    """
    # Here, since reading a measurement, as reports do, needs no torch.
    from preceptor.data.batches import Loader
    from preceptor.evaluation.evaluate import best_device
    from preceptor.runs.evaluate_run import evaluate_part
    from preceptor.runs.load_networks import finished_networks

    recipe, catalog = run.recipe, other.data.catalog()
    task, mapped, classes = TASKS[recipe.task], other.mapped_to(run), tuple(run.metrics.classes)
    loaded, unavailable = finished_networks(run)
    networks = {name: network.to(best_device()) for name, network in loaded.items()}
    targets, labels, usable = _targets(task, catalog, classes, mapped)
    is_known = catalog.table["id"].isin(set(known)).to_numpy()
    rows = np.flatnonzero(usable & ~is_known)
    if not len(rows):
        raise PreceptorError(f"{other.name}: no image is left to measure {run.path} on")
    side = next(iter(networks.values())).architecture.image_size
    pixels = open_pixels(catalog, side, masks=task.needs_masks, directory=cache)
    loader = Loader(pixels, targets, rows, best_device())
    ids = catalog.table["id"].iloc[rows].tolist()
    evaluation = evaluate_part(recipe, networks, loader, ids, classes, other.name)
    table = pd.concat(evaluation.predictions, ignore_index=True)
    own = run.predictions
    own = own[(own["part"] == "validation") & own["network"].isin(evaluation.metrics)]
    metrics: dict[str, Any] = evaluation.metrics
    if mapped is not None and task.target == "class":
        table, own = mapped.rows(table), mapped.rows(own)
        if mapped.merges:
            metrics = {name: _judged(table, name, mapped, task, values) for name, values in metrics.items()}
    judged = list(mapped.judged if mapped is not None else classes)
    images = catalog.table.iloc[rows][["id", "group"]].assign(part="test", label=labels[rows])
    images = images.join(catalog.attributes).reset_index(drop=True)
    record = ExternalRecord(
        format=FORMAT,
        name=other.name,
        data=other.data.record(1, []).model_copy(update={"images": len(catalog)}),
        task=recipe.task,
        classes=judged,
        class_map=dict(mapped.label) if mapped is not None else {},
        judged_as=dict(zip(classes, np.array(mapped.judged)[mapped.place].tolist(), strict=True)) if mapped else {},
        unmapped=int((~usable & catalog.labelled & ~is_known).sum()),
        known=int(is_known.sum()),
        unlabelled=int((~catalog.labelled & ~is_known).sum()),
        notes=[*notes, *kind_notes(catalog, pixels.kinds)],
        split_hash=split_hash(images),
    )
    predictions = pd.concat([table, own], ignore_index=True)
    relations = None if mapped is not None and mapped.merges else evaluation.relations
    return ExternalResult(run, record, mapped, metrics, predictions, images, relations, unavailable)


def read_external(run: Run, name: str) -> ExternalResult | None:
    """Return what a run keeps of its measurement on another data set, None where it was not measured.

    Raises:
        PreceptorError: a file is damaged.
    """
    folder = run.path / FOLDER / name
    if not (folder / RECORD).is_file():
        return None
    remedy = f"remove {folder}: the same study then measures the run again"
    record = read_record(folder / RECORD, ExternalRecord, remedy)
    metrics = read_json(folder / "metrics.json", remedy)
    columns = ("id", "part", "network", *TASKS[record.task].prediction_columns(record.classes))
    predictions = read_table(folder / "predictions.csv", columns)
    images = read_split(folder / "images.csv")
    return ExternalResult(run, record, _recorded_map(run, record), metrics, predictions, images)


def _recorded_map(run: Run, record: ExternalRecord) -> ClassMap | None:
    if not record.judged_as:
        return None
    place = [record.classes.index(record.judged_as[name]) for name in run.metrics.classes]
    return ClassMap(
        tuple(run.metrics.classes), tuple(record.classes), np.array(place, dtype=np.int64), record.class_map
    )


def _targets(
    task: Task, catalog: Catalog, classes: tuple[str, ...], mapped: ClassMap | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the targets of all images in the run's classes, their labels in judged ones, and which can be measured."""
    if mapped is None:
        return task.targets(catalog), catalog.table["label"].to_numpy(str), np.ones(len(catalog), dtype=bool)
    if task.target == "labels":
        columns = [[name for name, own in mapped.label.items() if own == label] for label in classes]
        nothing = np.full(len(catalog), np.nan, dtype=np.float32)
        values = [catalog.table[names].max(axis=1).to_numpy(np.float32) if names else nothing for names in columns]
        matrix = np.stack(values, axis=1)
        return matrix, catalog.table["label"].to_numpy(str), ~np.isnan(matrix).all(axis=1)
    labels = np.array([mapped.label.get(name) or "" for name in catalog.table["label"]], dtype=object)
    place = {name: classes.index(mapped.stand_in(name)) for name in set(labels) - {""}}
    targets = np.array([place.get(name, -1) for name in labels], dtype=np.int64)
    return targets, labels.astype(str), targets >= 0


def _judged(table: pd.DataFrame, name: str, mapped: ClassMap, task: Task, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of one network in merged classes."""
    targets, scores = task.metric_cases(table[table["network"] == name], mapped.judged)
    measured = classification_metrics(targets, scores, mapped.judged, task.metrics)
    return measured | ({"fidelity": values["fidelity"]} if "fidelity" in values else {})
