"""A study line's predictions cell by cell: what a cell's validation part decides is applied to its own test part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluation.metrics import Metric
from preceptor.evaluation.metrics.registry import ONE_CLASS
from preceptor.evaluation.resampling import Resampling, resample
from preceptor.report.entries import Entry, LabelledRun
from preceptor.report.label_predictions import label_network
from preceptor.report.network_predictions import (
    Estimate,
    NetworkPredictions,
    estimate_of,
    predictions_on,
)
from preceptor.report.study_results import Key, Line, StudyResults

#: What a metric is called with, from the predictions of one cell: arrays with one row an image.
CasesOf = Callable[[NetworkPredictions], tuple[NDArray[Any], ...]]


@dataclass(frozen=True)
class LineCells:
    """One network in the cells of a line.

    Attributes:
        entry: the line, whose name and colour tables show.
        cells: its predictions in each cell, fold and seed.
        resampling: of the patients or lesions of the whole study.
    """

    entry: Line
    cells: Mapping[Key, NetworkPredictions]
    resampling: Resampling

    @property
    def has_validation(self) -> bool:
        """Whether every cell has a validation part to choose by."""
        return all(cell.validation is not None for cell in self.cells.values())

    def by_seed(self) -> list[list[NetworkPredictions]]:
        """Return the cells of each seed, whose test parts are different images."""
        seeds = dict.fromkeys(seed for _, seed in sorted(self.cells))
        return [[cell for (_, of), cell in sorted(self.cells.items()) if of == seed] for seed in seeds]

    def estimates(self, metrics: Mapping[str, Metric], cases: CasesOf) -> dict[str, Estimate]:
        """Return metrics of the test parts of all folds together, the means over seeds, with intervals."""
        tables = [joined(cells, cases) for cells in self.by_seed()]
        return {key: estimate_of(value) for key, value in resample(metrics, tables, self.resampling).items()}


def joined(cells: Sequence[NetworkPredictions], cases: CasesOf) -> tuple[tuple[NDArray[Any], ...], NDArray[np.str_]]:
    """Return what metrics are called with, of several cells together, and the group of each image."""
    columns = tuple(np.concatenate(parts) for parts in zip(*map(cases, cells), strict=True))
    return columns, np.concatenate([cell.test.groups for cell in cells])


def line_cells(study: StudyResults, resampling: Resampling) -> list[LineCells]:
    """Return the lines of a study whose networks predict one class an image; none of another task."""
    if study.task not in ONE_CLASS:
        return []
    return [_cells(line, line.network, resampling) for line in study.lines]


def label_cells(study: StudyResults, label: str, resampling: Resampling) -> list[LineCells]:
    """Return the lines of a study as networks that predict a single label; none without validation parts."""
    result = []
    for line in study.lines:
        entries = {
            key: Entry(LabelledRun.of(run, line.label), line.network, line.label, line.index)
            for key, run in line.runs.items()
        }
        cells = {key: label_network(entry, label, resampling) for key, entry in entries.items()}
        validated = {key: cell for key, cell in cells.items() if cell is not None}
        if len(validated) == len(cells):
            result.append(LineCells(line, validated, resampling))
    return result


def teacher_cells(lines: Sequence[LineCells]) -> dict[int, LineCells]:
    """Return the teacher of each line that has one in all of its cells, by the line's index."""
    teachers = {}
    for cells in lines:
        line = cells.entry
        names = {run.recipe.reference for run in line.runs.values()}
        name = names.pop() if len(names) == 1 else None
        if (
            name is not None
            and name != line.network
            and all(name in run.metrics.networks for run in line.runs.values())
        ):
            teachers[line.index] = _cells(line, name, cells.resampling)
    return teachers


def _cells(line: Line, network: str, resampling: Resampling) -> LineCells:
    cells = {}
    for key, run in line.runs.items():
        entry = Entry(LabelledRun.of(run, line.label), network, line.label, line.index)
        test = predictions_on(entry, "test")
        assert test is not None  # a study's runs have been tested
        cells[key] = NetworkPredictions(entry, predictions_on(entry, "validation"), test, resampling)
    return LineCells(line, cells, resampling)
