"""Tables of a run report as plain rows, which the templates write out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from preceptor.data.catalog import PARTS
from preceptor.evaluation.metrics import METRICS, Metric
from preceptor.evaluation.resampling import Interval, Sampled, interval, resample, shared_resampling
from preceptor.evaluation.score_columns import PREFIX
from preceptor.evaluation.statistics import Spread
from preceptor.report.entries import Entry, LabelledRun
from preceptor.tasks import TASKS

SHOWN = 0.0005  # a smaller difference is written as 0.000
TEACHING = ("teacher", "online teacher")


@dataclass(frozen=True)
class Difference:
    """One network minus another, on the same test images.

    Attributes:
        of: the taught student.
        less: what it is measured against: the same backbone trained alone, or its teacher.
        values: metric → difference, None where either is undefined.
        interval: of the difference in the headline metric; None where the predictions are not those of the metrics.
        unlike: other settings in which the two differ; empty for a fair comparison.
    """

    of: Entry
    less: Entry
    values: dict[str, float | None]
    interval: Interval | None
    unlike: list[str] = field(default_factory=list)

    @property
    def is_sure(self) -> bool:
        """Whether the interval of the difference in the headline metric excludes zero."""
        return self.interval is not None and not self.interval.holds_zero

    @property
    def better(self) -> dict[str, bool | None]:
        """Metric → whether the difference is an improvement; None where it rounds to zero."""
        return {
            name: None if value is None or abs(value) < SHOWN else METRICS[name].better(value)
            for name, value in self.values.items()
        }


def intervals(entries: Sequence[Entry]) -> dict[int, Interval]:
    """Entry index → bootstrap interval of its headline metric; none under ``protocol: paper``."""
    return {entry.index: interval(sampled_headline(entry).samples) for entry in entries if not entry.run.paper_protocol}


def differences(entries: Sequence[Entry]) -> list[Difference]:
    """Every distilled student minus its equal trained alone (same backbone, and seed where possible), and its teacher.

    Of an ensemble, minus its members' teacher. Only networks tested on the same split are compared.
    """
    result = []
    for student in (entry for entry in entries if entry.kind in ("taught", "ensemble")):
        alone = [other for other in entries if other.kind == "alone" and _comparable(student, other)]
        same_seed = [other for other in alone if _seed(other) == _seed(student)]
        teachers = [other for other in entries if other.kind in TEACHING and other.run is student.run]
        result += [_difference(student, other, unlike=_differences(student, other)) for other in same_seed or alone]
        result += [_difference(student, other, unlike=[]) for other in teachers]
    return result


def metrics_shown(entries: Sequence[Entry]) -> dict[str, Metric]:
    """Metrics of the task that any of the networks has, by key."""
    metrics = TASKS[entries[0].run.task].metrics
    return {key: metric for key, metric in metrics.items() if any(key in entry.test for entry in entries)}


def split_table(run: LabelledRun) -> list[dict[str, Any]]:
    """Images and groups in each part: one row a label, then the sum."""
    counts = run.split.groupby(["label", "part"])["group"].agg(["size", "nunique"])
    whole = run.split.groupby("part")["group"].agg(["size", "nunique"])
    rows: list[dict[str, Any]] = []
    for name in run.classes if TASKS[run.task].target == "class" else sorted(set(run.split["label"]) - {""}):
        cells = {part: _pair(counts, (name, part)) for part in PARTS}
        images = sum(number for number, _ in cells.values())
        rows.append({"name": name, "cells": cells, "share": images / max(len(run.split), 1)})
    return [*rows, {"name": "all", "cells": {part: _pair(whole, part) for part in PARTS}, "share": 1.0}]


def recall_table(entries: Sequence[Entry], classes: Sequence[str]) -> list[tuple[Entry, list[Spread | None]]]:
    """Recall of each network on each class; None where the test part has no image of it."""
    recalls = [(entry, entry.test.get("per_class_recall") or {}) for entry in entries]
    return [
        (entry, [None if of.get(name) is None else Spread(of[name], None, 1) for name in classes])
        for entry, of in recalls
    ]


def class_sizes(entries: Sequence[Entry], classes: Sequence[str]) -> list[list[int]]:
    """Number of test images of each class; several numbers where runs have different test parts."""
    targets = [entry.predictions["target"] for entry in entries]
    return [sorted({int((target == name).sum()) for target in targets}) for name in classes]


def label_table(entries: Sequence[Entry], labels: Sequence[str]) -> list[dict[str, Any]]:
    """One row a label: its positives among the known, and of each network its AUC and average precision."""
    rows = []
    for name in labels:
        results = [entry.test["per_label"][name] for entry in entries]
        cases = sorted({(result["positives"], result["known"]) for result in results})
        values = [(result["auc"], result["average_precision"]) for result in results]
        rows.append({"name": name, "cases": cases, "values": values})
    return rows


def distinct(entries: Sequence[Entry]) -> list[Entry]:
    """The networks without repeated frozen teachers: with the predictions of one that is listed already."""
    result: list[Entry] = []
    for entry in entries:
        if entry.kind != "teacher" or not any(_same_predictions(entry, other) for other in result):
            result.append(entry)
    return result


def area_table(entries: Sequence[Entry], classes: Sequence[str]) -> list[tuple[Entry, list[float | None]]]:
    """Area under each network's ROC curve of each class, None where the class or all others are missing."""
    return [(entry, [_area(entry.predictions, name) for name in classes]) for entry in entries]


def _area(table: pd.DataFrame, name: str) -> float | None:
    is_class = table["target"] == name
    return float(roc_auc_score(is_class, table[PREFIX + name])) if 0 < is_class.sum() < len(table) else None


def confusion_table(entry: Entry) -> list[dict[str, Any]]:
    """Confusion matrix: one row per true class, with counts of test images and their shares of the row."""
    table, classes = entry.predictions, entry.run.classes
    counts = pd.crosstab(table["target"], table["predicted"]).reindex(index=classes, columns=classes, fill_value=0)
    rows = []
    for name, row in zip(classes, counts.to_numpy().tolist(), strict=True):
        total = sum(row)
        rows.append({"name": name, "cells": [(count, count / total if total else 0.0) for count in row]})
    return rows


def _same_predictions(one: Entry, other: Entry) -> bool:
    mine, theirs = (entry.predictions.drop(columns="network").set_index("id").sort_index() for entry in (one, other))
    if one.run.split_hash != other.run.split_hash or not mine.index.equals(theirs.index):
        return False
    numbers = mine.select_dtypes("number").columns
    words = [name for name in mine.columns if name not in numbers]
    # Not bit by bit: another batch size or machine rounds otherwise.
    return bool(mine[words].equals(theirs[words]) and np.allclose(mine[numbers], theirs[numbers], atol=1e-5))


def _pair(counts: pd.DataFrame, key: Any) -> tuple[int, int]:
    return (int(counts.loc[key, "size"]), int(counts.loc[key, "nunique"])) if key in counts.index else (0, 0)


def _difference(of: Entry, less: Entry, *, unlike: list[str]) -> Difference:
    values = {}
    for name in TASKS[of.run.task].metrics:
        mine, theirs = of.test.get(name), less.test.get(name)
        values[name] = None if mine is None or theirs is None else mine - theirs
    spread = None
    if not of.run.paper_protocol and set(of.predictions["id"]) == set(less.predictions["id"]):
        spread = interval(sampled_headline(of).samples - sampled_headline(less).samples)
    return Difference(of, less, values, spread, unlike)


def sampled_headline(entry: Entry) -> Sampled:
    """The headline metric of a network's test part in resamplings of its patients or lesions."""
    task, rows = TASKS[entry.run.task], entry.predictions
    groups = rows["id"].map(entry.run.split.set_index("id")["group"])
    cases = task.metric_cases(rows, entry.run.classes)
    return resample({task.headline: METRICS[task.headline]}, [(cases, groups)], shared_resampling(groups))[
        task.headline
    ]


def _comparable(one: Entry, other: Entry) -> bool:
    return (
        one.result.backbone == other.result.backbone
        and one.run.split_hash == other.run.split_hash
        and one.run.metrics.protocol == other.run.metrics.protocol
    )


def _differences(one: Entry, other: Entry) -> list[str]:
    pairs = {
        "seed": (_seed(one), _seed(other)),
        "epochs": (one.run.metrics.epochs, other.run.metrics.epochs),
        "start": (one.result.start, other.result.start),
        "image size": (one.run.recipe.image_size, other.run.recipe.image_size),
        "batch size": (one.run.recipe.batch_size, other.run.recipe.batch_size),
    }
    return [f"{name}: {mine} and {theirs}" for name, (mine, theirs) in pairs.items() if mine != theirs]


def _seed(entry: Entry) -> Any:
    return entry.run.environment.seed
