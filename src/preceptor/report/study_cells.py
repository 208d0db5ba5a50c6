"""The predictions of a study's lines, read from the runs of their cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from preceptor.evaluation.resampling import Resampling
from preceptor.report.entries import Entry
from preceptor.report.label_predictions import label_networks
from preceptor.report.network_cells import NetworkCells
from preceptor.report.network_predictions import (
    NetworkPredictions,
    Predictions,
    predictions_on,
)
from preceptor.report.study_results import CellRun, Key, Line


def class_cells(line: Line, network: str, resampling: Resampling) -> NetworkCells:
    """Return a network of a line's runs that predicts one class per image."""
    cells = {}
    known: dict[bytes, NDArray[Any]] = {}
    for key, entry in _entries(line, network).items():
        test, validation = predictions_on(entry, "test"), predictions_on(entry, "validation")
        assert test is not None  # a study's runs have been tested
        chosen = None if validation is None else _sharing(validation, known)
        cells[key] = NetworkPredictions(entry, chosen, _sharing(test, known), resampling)
    return NetworkCells(cells, resampling)


def _sharing(part: Predictions, known: dict[bytes, NDArray[Any]]) -> Predictions:
    """Return predictions whose ids, targets and groups are held once for all seeds of a fold.

    Args:
        known: arrays by their bytes.
    """
    ids, targets, groups = (known.setdefault(each.tobytes(), each) for each in (part.ids, part.targets, part.groups))
    return Predictions(ids, targets, part.probabilities, groups)


def label_cells(line: Line, labels: Sequence[str], resampling: Resampling) -> list[NetworkCells | None]:
    """Return a line's network as one that predicts a single label, for each label; None without validation parts."""
    of_label: list[dict[Key, NetworkPredictions]] = [{} for _ in labels]
    for key, entry in _entries(line, line.network).items():  # each run is read once for all labels
        for cell, cells in zip(label_networks(entry, labels, resampling), of_label, strict=True):
            if cell is not None:
                cells[key] = cell
    return [NetworkCells(cells, resampling) if len(cells) == len(line.runs) else None for cells in of_label]


def teacher_of(line: Line) -> str | None:
    """Return the name of the teacher that a line's network has in all of its cells; None without one."""
    names = {run.recipe.reference for run in line.runs.values()}
    name = names.pop() if len(names) == 1 else None
    if name is None or name == line.network:
        return None
    return name if all(name in run.metrics.networks for run in line.runs.values()) else None


def _entries(line: Line, network: str) -> dict[Key, Entry]:
    return {key: Entry(CellRun.of(run, line.label), network, line.label, line.index) for key, run in line.runs.items()}
