"""A study line's predictions cell by cell: what a cell's validation part decides is applied to its own test part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluation.metrics import Metric
from preceptor.evaluation.resampling import Resampling, resample_folds
from preceptor.report.entries import Entry
from preceptor.report.label_predictions import label_networks
from preceptor.report.network_predictions import (
    Estimate,
    NetworkPredictions,
    Predictions,
    estimate_of,
    predictions_on,
)
from preceptor.report.study_results import CellRun, Key, Line

#: What a metric is called with, from the predictions of one cell: arrays with one row per image.
CasesOf = Callable[[NetworkPredictions], tuple[NDArray[Any], ...]]


@dataclass(frozen=True)
class LineCells:
    """One network in the cells of a line.

    Attributes:
        cells: its predictions in each cell, fold and seed.
        resampling: of the patients or lesions of the whole study.
    """

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
        """Return metrics of the test parts of all folds together, the means over seeds, with intervals.

        Those that rank images are computed within folds and averaged.
        """
        together = [joined(cells, cases) for cells in self.by_seed()]
        apart = [(cases(cell), cell.test.groups) for cell in self.cells.values()]
        sampled = resample_folds(metrics, together, apart, self.resampling)
        return {key: estimate_of(sampled[key]) for key in metrics}


def joined(cells: Sequence[NetworkPredictions], cases: CasesOf) -> tuple[tuple[NDArray[Any], ...], NDArray[np.str_]]:
    """Return what metrics are called with, of several cells together, and the group of each image."""
    columns = tuple(np.concatenate(parts) for parts in zip(*map(cases, cells), strict=True))
    return columns, np.concatenate([cell.test.groups for cell in cells])


def class_cells(line: Line, network: str, resampling: Resampling) -> LineCells:
    """Return a network of a line's runs that predicts one class per image."""
    cells = {}
    known: dict[bytes, NDArray[Any]] = {}
    for key, entry in _entries(line, network).items():
        test, validation = predictions_on(entry, "test"), predictions_on(entry, "validation")
        assert test is not None  # a study's runs have been tested
        chosen = None if validation is None else _sharing(validation, known)
        cells[key] = NetworkPredictions(entry, chosen, _sharing(test, known), resampling)
    return LineCells(cells, resampling)


def _sharing(part: Predictions, known: dict[bytes, NDArray[Any]]) -> Predictions:
    """Return predictions whose ids, targets and groups are held once for all seeds of a fold.

    Args:
        known: arrays by their bytes.
    """
    ids, targets, groups = (known.setdefault(each.tobytes(), each) for each in (part.ids, part.targets, part.groups))
    return Predictions(ids, targets, part.probabilities, groups)


def label_cells(line: Line, labels: Sequence[str], resampling: Resampling) -> list[LineCells | None]:
    """Return a line's network as one that predicts a single label, for each label; None without validation parts."""
    of_label: list[dict[Key, NetworkPredictions]] = [{} for _ in labels]
    for key, entry in _entries(line, line.network).items():  # each run is read once for all labels
        for cell, cells in zip(label_networks(entry, labels, resampling), of_label, strict=True):
            if cell is not None:
                cells[key] = cell
    return [LineCells(cells, resampling) if len(cells) == len(line.runs) else None for cells in of_label]


def teacher_of(line: Line) -> str | None:
    """Return the name of the teacher that a line's network has in all of its cells; None without one."""
    names = {run.recipe.reference for run in line.runs.values()}
    name = names.pop() if len(names) == 1 else None
    if name is None or name == line.network:
        return None
    return name if all(name in run.metrics.networks for run in line.runs.values()) else None


def _entries(line: Line, network: str) -> dict[Key, Entry]:
    return {key: Entry(CellRun.of(run, line.label), network, line.label, line.index) for key, run in line.runs.items()}
