"""What a clinical reviewer asks of a study: operating points, calibration, subgroups and uncertainty of each method."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preceptor.evaluation.attributes import banded
from preceptor.evaluation.detection import ranking_metrics
from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.metrics.registry import ONE_CLASS, Additive, Floats, Metric
from preceptor.evaluation.operating_points import positive_score
from preceptor.evaluation.ranking import resampled_risk_area
from preceptor.evaluation.resampling import Resampling
from preceptor.evaluation.selective import risk_at_coverage, risk_coverage
from preceptor.evaluation.statistics import ALPHA
from preceptor.evaluation.subgroups import FEW, Subgroup, subgroups, widened
from preceptor.report.calibration import brier_score
from preceptor.report.clinical import class_groups
from preceptor.report.label_predictions import YES
from preceptor.report.network_predictions import NOTHING, Estimate, NetworkPredictions, Predictions, class_words
from preceptor.report.operating_points import POINTS, Point, PositiveClass, chosen_threshold
from preceptor.report.publication import HEAD, section_rows
from preceptor.report.study_cells import LineCells, joined, label_cells, line_cells, teacher_cells
from preceptor.report.study_results import StudyResults
from preceptor.report.subgroups import METRIC_KEYS, MOST, Attribute, NetworkInSubgroup, Value, attributes_of
from preceptor.report.uncertainty import ANSWERED, ERROR, SelectiveRow, Sets, SetsRow, adaptive, least_ambiguous
from preceptor.tasks import TASKS


@dataclass(frozen=True)
class CalibrationChange:
    """Calibration of one method before and after temperature scaling in each cell.

    Attributes:
        temperatures: of the cells, the least and the largest.
        before, after: calibration error, negative log-likelihood and Brier score.
    """

    network: LineCells
    temperatures: tuple[float, float]
    before: list[Estimate]
    after: list[Estimate]


def clinical_sections(study: StudyResults, resampling: Resampling) -> dict[str, Any]:
    """Return what ``study.html.j2`` shows of methods beside their metrics; empty where the task has no such section."""
    lines = line_cells(study, resampling)
    judged = [line for line in lines if line.has_validation]
    return {
        "positives": _positives(study, judged, resampling),
        "points": POINTS,
        "calibrations": [_calibration(line) for line in judged],
        "sets": [_sets(line, study, least_ambiguous) for line in judged],
        "adaptive_sets": [_sets(line, study, adaptive) for line in judged],
        "coverage_wanted": 1 - ERROR,
        "selective": [_selective(line) for line in lines],
        "answered": ANSWERED,
        "attributes": attribute_sections(study, lines),
    }


def clinical_csv(contents: Mapping[str, Any]) -> str:
    """Return the numbers of :func:`clinical_sections`, one row a method and quantity."""
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


def _positives(study: StudyResults, judged: Sequence[LineCells], resampling: Resampling) -> list[PositiveClass]:
    """Return the operating points of each group of classes and each class, or of each label."""
    if TASKS[study.task].target == "labels":
        words = class_words(study.some_run)
        of_labels = {name: label_cells(study, name, resampling) for name in study.classes}
        return [_positive(lines, words[name], [], [YES]) for name, lines in of_labels.items() if lines]
    if not judged:
        return []
    place = {code: index for index, code in enumerate(study.classes)}
    return [
        _positive(judged, name, members, [place[code] for code in codes]) for name, codes, members in _groups(study)
    ]


def _groups(study: StudyResults) -> list[tuple[str, list[str], list[str]]]:
    """Return name, codes and full names of each group of classes, then of each class."""
    words = class_words(study.some_run)
    named = [(name, members, [words[code] for code in members]) for name, members in study_class_groups(study).items()]
    return [*named, *((words[code], [code], []) for code in study.classes)]


def _positive(lines: Sequence[LineCells], name: str, members: list[str], index: Sequence[int]) -> PositiveClass:
    cells = {key: cell for line in lines for key, cell in line.cells.items()}
    first = {fold: cell for (fold, _), cell in sorted(cells.items(), reverse=True)}  # of the first seed
    counts = {
        part: [sum(int(np.isin(getattr(cell, part).targets, index).sum()) for cell in first.values())]
        for part in ("validation", "test")
    }
    rows = [_point_row(line, index) for line in lines]
    return PositiveClass(name=name, members=members, rows=rows, curve=None, **counts)


def _point_row(line: LineCells, index: Sequence[int]) -> tuple[LineCells, Estimate, Estimate, list[Point]]:
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
    return line, areas["auc"], areas["partial_auc"], points


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


def _calibration(line: LineCells) -> CalibrationChange:
    metrics = {"calibration_error": METRICS["calibration_error"], "nll": METRICS["nll"], "brier": brier_score()}
    before = line.estimates(metrics, lambda cell: (cell.test.targets, cell.test.probabilities))
    after = line.estimates(metrics, lambda cell: (cell.test.targets, cell.calibrated))
    temperatures = [cell.temperature for cell in line.cells.values() if cell.temperature is not None]
    each = (min(temperatures), max(temperatures))
    return CalibrationChange(line, each, [before[key] for key in metrics], [after[key] for key in metrics])


def _sets(line: LineCells, study: StudyResults, rule: Callable[[Predictions], Sets]) -> SetsRow:
    def sets(cell: NetworkPredictions) -> tuple[NDArray[Any], ...]:
        assert cell.validation is not None
        return cell.test.targets, rule(cell.validation)(cell.test.probabilities)

    places = {"coverage": 1, "size": 2, "single": 3}
    additive = {key: Additive(_of_sets, partial(_mean, place)) for key, place in places.items()}
    metrics = {key: Metric(key, key, ONE_CLASS, value, additive=value) for key, value in additive.items()}
    estimates = line.estimates(metrics, sets)
    (targets, held), _ = joined(list(line.cells.values()), sets)
    own = held[np.arange(len(targets)), targets]
    by_class = [
        float(own[targets == index].mean()) if (targets == index).any() else None for index in range(len(study.classes))
    ]
    return SetsRow(line, estimates["coverage"], estimates["size"], estimates["single"], by_class)


def _of_sets(targets: NDArray[np.integer], sets: NDArray[np.bool_]) -> Floats:
    sizes, held = sets.sum(axis=1), sets[np.arange(len(targets)), targets]
    return np.stack([np.ones(len(targets)), held, sizes, sizes == 1], axis=1).astype(np.float64)


def _mean(place: int, sums: Floats) -> Floats:
    return sums[..., place] / sums[..., 0]


def _selective(line: LineCells) -> SelectiveRow:
    def answers(cell: NetworkPredictions) -> tuple[NDArray[Any], ...]:
        scores = cell.test.probabilities
        return scores.argmax(axis=1) == cell.test.targets, scores.max(axis=1)

    area = Metric(
        "aurc",
        "AURC",
        ONE_CLASS,
        lambda right, confidence: risk_coverage(right, confidence).area,
        higher_is_better=False,
        prepare=lambda right, confidence, group, groups: resampled_risk_area(confidence, ~right, group, groups),
    )
    curves = [risk_coverage(*joined(cells, answers)[0]) for cells in line.by_seed()]
    risks = [float(np.mean([risk_at_coverage(curve, share) for curve in curves])) for share in ANSWERED]
    return SelectiveRow(line, risks, line.estimates({"aurc": area}, answers)["aurc"])


def attribute_sections(study: StudyResults, lines: Sequence[LineCells]) -> list[Attribute]:
    """Return results by every attribute of the runs' splits with two values or more, each student beside its teacher.

    Intervals of what a student's gap has on its teacher's are corrected by Bonferroni for the number of students.
    """
    if not lines:
        return []
    teachers = teacher_cells(lines)
    tested = pd.concat([run.split[run.split["part"] == "test"] for run in study.runs]).drop_duplicates("id")
    level = 1 - ALPHA / max(1, len(teachers))
    sections = []
    for name in attributes_of(study.some_run):
        if name not in tested:
            continue
        words, names = banded(tested[name])
        if 2 <= len(names) <= MOST:
            by_id = dict(zip(tested["id"], words, strict=True))
            results = {line.entry.index: _by_value(line, by_id) for line in lines}
            of_teachers = {index: _by_value(cells, by_id) for index, cells in teachers.items()}
            values = [
                Value(value, int((words == value).sum()), int(tested["group"][words == value].nunique()), rows)
                for value in names
                for rows in [
                    [
                        _row(line, results[line.entry.index], of_teachers.get(line.entry.index), value, level)
                        for line in lines
                    ]
                    if (words == value).sum() >= FEW
                    else []
                ]
            ]
            sections.append(Attribute(name.replace("_", " "), list(lines), values, int((words == "").sum())))
    return sections


Results = list[dict[str, Subgroup]]  # of each metric, by value


def _by_value(line: LineCells, words: Mapping[str, str]) -> Results:
    """Return metrics by value, of the test parts of all folds and seeds together."""
    cases, groups = joined(
        list(line.cells.values()), lambda cell: (cell.test.targets, cell.test.probabilities, cell.test.ids)
    )
    targets, probabilities, ids = cases
    attribute = np.array([words[name] for name in ids])
    return [
        subgroups(METRICS[key], (targets, probabilities), groups, attribute, line.resampling) for key in METRIC_KEYS
    ]


def _row(line: LineCells, results: Results, teacher: Results | None, value: str, level: float) -> NetworkInSubgroup:
    values = [result.get(value) for result in results]
    changes: list[Any] = [None] * len(METRIC_KEYS)
    if teacher is not None:
        changes = [widened(mine, theirs, level).get(value) for mine, theirs in zip(results, teacher, strict=True)]
    return NetworkInSubgroup(
        line,
        [NOTHING if each is None else Estimate(each.value, each.interval) for each in values],
        [NOTHING if each is None or each.gap is None else Estimate(each.gap, each.gap_interval) for each in values],
        changes,
    )
