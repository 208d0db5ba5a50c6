"""A study's predictions on the test parts of all folds and seeds together: what is shown of them, line by line.

The pooled table of one line is in memory at a time; what is kept of it are cells of tables, and points of curves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from preceptor.evaluation.calibration import calibration_error
from preceptor.evaluation.resampling import Interval
from preceptor.evaluation.score_columns import score_columns
from preceptor.report import figures, tables
from preceptor.report.canvas import Figure
from preceptor.report.entries import Entry, LabelledRun
from preceptor.report.formatting import count
from preceptor.report.network_predictions import class_words
from preceptor.report.notes import Learnt, learnt
from preceptor.report.study_results import Line, StudyResults
from preceptor.tasks import TASKS


@dataclass
class PooledResults:
    """What is shown of the pooled predictions of all lines.

    Attributes:
        learnt: whether each network learnt anything.
        confusions: confusion matrix of each line, by its entry.
        areas: areas under the ROC curves of each line, by its entry.
        reliability: a diagram for each line.
        roc: curves of all lines by class.
    """

    learnt: list[Learnt] = field(default_factory=list)
    confusions: list[tuple[Entry, list[dict[str, Any]]]] = field(default_factory=list)
    areas: list[tuple[Entry, list[float | None]]] = field(default_factory=list)
    reliability: list[Figure] = field(default_factory=list)
    roc: dict[str, list[figures.RocCurve]] = field(default_factory=dict)


def pooled_results(study: StudyResults, intervals: Mapping[int, Interval]) -> PooledResults:
    """Pool the predictions of each line and return what is shown of them; only ``learnt`` where no class is predicted.

    Args:
        intervals: line index → interval of its balanced accuracy.
    """
    of_classes = TASKS[study.task].target == "class"
    shown = PooledResults(roc={code: [] for code in study.classes} if of_classes else {})
    for line in study.lines:
        pooled = _pooled(study, line)
        shown.learnt.append(learnt(pooled, intervals.get(line.index)))
        if not of_classes:
            continue
        entry = Entry(line.some_run, line.network, line.label, line.index)  # without the table
        shown.confusions.append((entry, tables.confusion_table(pooled)))
        shown.reliability += figures.reliability_diagrams([pooled])
        if len(study.lines) > figures.MOST_AREAS:
            shown.areas += [(entry, areas) for _, areas in tables.area_table([pooled], study.classes)]
        for code, curves in shown.roc.items():
            curves.append(replace(figures.roc_curve_of(pooled, code), entry=entry))
    return shown


def roc_figures(study: StudyResults, pooled: PooledResults) -> list[Figure]:
    """Draw the ROC curves of all lines, one panel per class."""
    images = pd.concat([run.tested[["id", "target"]] for run in study.one_run_a_split]).drop_duplicates()
    return [
        replace(
            figures.roc_panel(pooled.roc[code], name),
            note=f"{count((images['target'] == code).sum())} of {count(len(images))} images",
        )
        for code, name in class_words(study.some_run).items()
    ]


def _pooled(study: StudyResults, line: Line) -> Entry:
    """A line's predictions on the test parts of all folds and seeds, as if one run had made them."""
    table = pd.concat(line.tested().values(), ignore_index=True).drop(columns=["id", "group"])
    test: dict[str, Any] = {}
    if TASKS[study.task].target == "class":
        scores = table[score_columns(study.classes)].to_numpy()
        targets = table["target"].map({name: index for index, name in enumerate(study.classes)}).to_numpy()
        recalls = (table["target"] == table["predicted"]).groupby(table["target"]).mean()
        test = {"calibration_error": calibration_error(targets, scores), "balanced_accuracy": float(recalls.mean())}
    run = line.some_run
    result = run.metrics.networks[line.network].model_copy(update={"test": test})
    metrics = run.metrics.model_copy(update={"networks": {line.network: result}})
    pooled = LabelledRun.of(run, line.label, metrics=metrics, predictions=table)
    return Entry(pooled, line.network, line.label, line.index)
