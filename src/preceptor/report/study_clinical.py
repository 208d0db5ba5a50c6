"""What a clinical reviewer asks of a study: operating points, calibration, subgroups and uncertainty of each method."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluation.detection import ranking_metrics
from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.metrics.registry import ONE_CLASS, Additive, Floats, Metric
from preceptor.evaluation.operating_points import positive_score
from preceptor.evaluation.resampling import Resampling
from preceptor.report.calibration import brier_score
from preceptor.report.clinical import class_groups
from preceptor.report.label_predictions import YES
from preceptor.report.network_cells import NetworkCells
from preceptor.report.network_predictions import NOTHING, Estimate, NetworkPredictions, class_words
from preceptor.report.operating_points import POINTS, Point, PositiveClass, Row, chosen_threshold
from preceptor.report.publication import HEAD, section_rows
from preceptor.report.study_cells import class_cells, label_cells, teacher_of
from preceptor.report.study_results import Key, Line, StudyResults
from preceptor.report.study_subgroups import AttributeOfImages, attributes_of_images
from preceptor.report.subgroups import NetworkInSubgroup
from preceptor.report.uncertainty import (
    ANSWERED,
    ERROR,
    SelectiveRow,
    SetsRow,
    adaptive,
    least_ambiguous,
    selective_row,
    sets_row,
)
from preceptor.tasks import TASKS


@dataclass(frozen=True)
class Method:
    """A line of a study as rows of sections name it, without its predictions."""

    entry: Line


@dataclass(frozen=True)
class CalibrationChange:
    """Calibration of one method before and after temperature scaling in each cell.

    Attributes:
        temperatures: of the cells, the least and the largest.
        before, after: calibration error, negative log-likelihood and Brier score.
    """

    network: Method
    temperatures: tuple[float, float]
    before: list[Estimate]
    after: list[Estimate]


@dataclass(frozen=True)
class _Group:
    """Classes that count as positive together, one class or one label.

    Attributes:
        name, members: in full words.
        index: of the classes.
        label: which label; None for classes.
    """

    name: str
    members: list[str]
    index: Sequence[int]
    label: str | None = None


@dataclass(frozen=True)
class _Points:
    """One method's row in the table of a group, and its positive images of the validation and test part by cell."""

    row: Row
    positives: dict[Key, tuple[int, int]]


@dataclass(frozen=True)
class _OfLine:
    """What all sections say of one method; no ``points`` and not ``judged`` without validation parts to choose by."""

    points: list[_Points | None]  # of each group
    judged: tuple[CalibrationChange, SetsRow, SetsRow] | None = None
    selective: SelectiveRow | None = None
    subgroups: list[dict[str, NetworkInSubgroup]] = field(default_factory=list)  # of each attribute


def clinical_sections(study: StudyResults, resampling: Resampling) -> dict[str, Any]:
    """Return what ``study.html.j2`` shows of methods beside their metrics; empty where the task has no such section.

    Line by line, so that the predictions of one are in memory at a time.
    """
    one_class = TASKS[study.task].target == "class"
    groups, attributes = _groups(study), attributes_of_images(study) if one_class else []
    of_line = partial(_of_classes, attributes=attributes) if one_class else _of_labels
    methods = [Method(line) for line in study.lines]
    lines = [of_line(method, groups, resampling) for method in methods]
    judged = [line.judged for line in lines if line.judged is not None]
    return {
        "positives": [
            _positive(group, rows)
            for place, group in enumerate(groups)
            if (rows := [points for line in lines if line.points and (points := line.points[place]) is not None])
        ],
        "points": POINTS,
        "calibrations": [calibration for calibration, _, _ in judged],
        "sets": [sets for _, sets, _ in judged],
        "adaptive_sets": [sets for _, _, sets in judged],
        "coverage_wanted": 1 - ERROR,
        "selective": [line.selective for line in lines if line.selective is not None],
        "answered": ANSWERED,
        "attributes": [
            attribute.section(methods, [line.subgroups[place] for line in lines])
            for place, attribute in enumerate(attributes)
        ],
    }


def clinical_csv(contents: Mapping[str, Any]) -> str:
    """Return the numbers of :func:`clinical_sections`, one row per method and quantity."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    for row in contents["calibrations"]:
        for of, estimates in (("as it is", row.before), ("after temperature scaling", row.after)):
            for key, estimate in zip(("error", "nll", "brier"), estimates, strict=True):
                bounds = estimate.interval
                ends = (bounds.low, bounds.high) if bounds else (None, None)
                writer.writerow((row.network.entry.label, of, f"calibration {key}", estimate.value, *ends))
    writer.writerows(section_rows(contents))
    return text.getvalue()


def study_class_groups(study: StudyResults) -> dict[str, list[str]]:
    """Return the groups of classes that the plan or the runs' recipes name."""
    groups = class_groups(study.runs)
    for row in study.plan.rows:  # a plan may name groups that its runs, which are not trained again, do not know
        given = dict(row.set.get("class_groups") or {})
        prefix = "class_groups."
        given |= {key.removeprefix(prefix): value for key, value in row.set.items() if key.startswith(prefix)}
        groups |= {name: list(members) for name, members in given.items() if set(members) <= set(study.classes)}
    return groups


def _groups(study: StudyResults) -> list[_Group]:
    """Return the groups of classes and then each class, or each label; none for masks."""
    words = class_words(study.some_run)
    if TASKS[study.task].target == "labels":
        return [_Group(words[name], [], [YES], name) for name in study.classes]
    if TASKS[study.task].target != "class":
        return []
    place = {code: index for index, code in enumerate(study.classes)}
    named = [
        _Group(name, [words[code] for code in members], [place[code] for code in members])
        for name, members in study_class_groups(study).items()
    ]
    return [*named, *(_Group(words[code], [], [place[code]]) for code in study.classes)]


def _of_classes(
    method: Method, groups: Sequence[_Group], resampling: Resampling, attributes: Sequence[AttributeOfImages]
) -> _OfLine:
    cells = class_cells(method.entry, method.entry.network, resampling)
    name = teacher_of(method.entry) if attributes else None
    teacher = None if name is None else class_cells(method.entry, name, resampling)
    points: list[_Points | None] = []
    judged = None
    if cells.has_validation:
        points = [_points(method, cells, group) for group in groups]
        judged = (
            _calibration(method, cells),
            sets_row(method, cells, least_ambiguous),
            sets_row(method, cells, adaptive),
        )
    by_attribute = [attribute.rows(method, cells, teacher) for attribute in attributes]
    return _OfLine(points, judged, selective_row(method, cells), by_attribute)


def _of_labels(method: Method, groups: Sequence[_Group], resampling: Resampling) -> _OfLine:
    labels = [group.label for group in groups if group.label is not None]  # which all groups of labels have
    pairs = zip(groups, label_cells(method.entry, labels, resampling), strict=True)
    return _OfLine([None if cells is None else _points(method, cells, group) for group, cells in pairs])


def _positive(group: _Group, of_lines: Sequence[_Points]) -> PositiveClass:
    cells = {key: sizes for points in of_lines for key, sizes in points.positives.items()}
    first = {fold: sizes for (fold, _), sizes in sorted(cells.items(), reverse=True)}  # of the first seed
    validation, test = ([sum(sizes[part] for sizes in first.values())] for part in range(2))
    rows = [points.row for points in of_lines]
    return PositiveClass(group.name, group.members, validation, test, rows, curve=None)


def _points(method: Method, line: NetworkCells, group: _Group) -> _Points:
    sizes = {}
    for key, cell in line.cells.items():
        assert cell.validation is not None
        validation, test = (int(np.isin(part.targets, group.index).sum()) for part in (cell.validation, cell.test))
        sizes[key] = (validation, test)
    return _Points(_point_row(method, line, group.index), sizes)


def _point_row(method: Method, line: NetworkCells, index: Sequence[int]) -> Row:
    areas = line.estimates(ranking_metrics(index), lambda cell: (cell.test.targets, cell.test.probabilities))
    thresholds = {
        key: [chosen_threshold(cell, index, rate, target) for rate, target, _ in POINTS]
        for key, cell in line.cells.items()
    }
    chosen = [place for place in range(len(POINTS)) if all(each[place] is not None for each in thresholds.values())]
    by_cell = {id(cell): thresholds[key] for key, cell in line.cells.items()}

    def called(cell: NetworkPredictions) -> tuple[NDArray[Any], ...]:
        score = positive_score(cell.test.probabilities, index)[:, None]
        least = np.array([by_cell[id(cell)][place] for place in chosen], dtype=np.float64)
        return np.isin(cell.test.targets, index), score >= least

    metrics = {
        f"{rate} {place}": _rate(f"{rate} {place}", rate, column)
        for column, place in enumerate(chosen)
        for rate in ("sensitivity", "specificity")
    }
    estimates = line.estimates(metrics, called) if chosen else {}
    points = [
        Point(None, estimates.get(f"{other} {place}", NOTHING), estimates.get(f"{rate} {place}", NOTHING))
        for place, (rate, _, other) in enumerate(POINTS)
    ]
    return method, areas["auc"], areas["partial_auc"], points


def _rate(key: str, rate: str, column: int) -> Metric:
    additive = Additive(_outcomes, partial(_share, rate, column))
    return Metric(key, rate, ONE_CLASS, additive, additive=additive)


def _outcomes(truth: NDArray[np.bool_], called: NDArray[np.bool_]) -> Floats:
    """Return what each image adds to positives, negatives, and of each threshold hits and rejected negatives."""
    hits, rejected = called & truth[:, None], ~called & ~truth[:, None]
    return np.column_stack([truth, ~truth, hits, rejected]).astype(np.float64)


def _share(rate: str, column: int, sums: Floats) -> Floats:
    points = (sums.shape[-1] - 2) // 2
    place = 2 + column + (points if rate == "specificity" else 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[..., place] / sums[..., 1 if rate == "specificity" else 0]


def _calibration(method: Method, line: NetworkCells) -> CalibrationChange:
    metrics = {"calibration_error": METRICS["calibration_error"], "nll": METRICS["nll"], "brier": brier_score()}
    before = line.estimates(metrics, lambda cell: (cell.test.targets, cell.test.probabilities))
    after = line.estimates(metrics, lambda cell: (cell.test.targets, cell.calibrated))
    temperatures = [1.0 if cell.temperature is None else cell.temperature for cell in line.cells.values()]
    each = (min(temperatures), max(temperatures))
    return CalibrationChange(method, each, [before[key] for key in metrics], [after[key] for key in metrics])
