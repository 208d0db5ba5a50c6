"""What a network could leave to a human: conformal sets of classes, and selective prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluation.conformal import (
    adaptive_sets,
    adaptive_threshold,
    conformal_thresholds,
    prediction_sets,
    set_quality,
)
from preceptor.evaluation.metrics.registry import ONE_CLASS, Additive, Floats, Metric
from preceptor.evaluation.ranking import resampled_risk_area
from preceptor.evaluation.selective import risk_at_coverage, risk_coverage
from preceptor.report.canvas import SERIES, Figure, sketch
from preceptor.report.network_cells import NetworkCells, joined, of_run
from preceptor.report.network_predictions import Estimate, Judged, NetworkPredictions, Predictions

ERROR = 0.1  # share of sets that may miss the true class
ANSWERED = (1.0, 0.9, 0.8)  # shares of the images that are answered
#: Probabilities (N, C) -> which classes are in the set of each image, (N, C).
Sets = Callable[[Floats], NDArray[np.bool_]]


@dataclass(frozen=True)
class SetsRow:
    """Sets of classes of one network on the test part, for 90 % coverage by the validation part.

    Attributes:
        coverage: share of sets that hold the true class.
        size: mean number of classes in a set.
        single: share of sets with exactly one class.
        by_class: coverage of the images of each class, None without one.
    """

    network: Judged
    coverage: Estimate
    size: Estimate
    single: Estimate
    by_class: list[float | None]


@dataclass(frozen=True)
class SelectiveRow:
    """Errors of one network when the least confident images are left to a human.

    Attributes:
        risks: error rate at each share of :data:`ANSWERED`.
        area: under the curve of error rate over coverage (AURC).
    """

    network: Judged
    risks: list[float]
    area: Estimate


def least_ambiguous(validation: Predictions) -> Sets:
    """Return the rule of least ambiguous sets, chosen on a validation part."""
    thresholds = conformal_thresholds(validation.targets, validation.probabilities, ERROR)
    return partial(prediction_sets, thresholds=thresholds)


def adaptive(validation: Predictions) -> Sets:
    """Return the rule of adaptive sets (APS), chosen on a validation part."""
    threshold = adaptive_threshold(validation.targets, validation.probabilities, ERROR)
    return partial(adaptive_sets, threshold=threshold)


def sets_rows(
    networks: Sequence[NetworkPredictions], rule: Callable[[Predictions], Sets] = least_ambiguous
) -> list[SetsRow]:
    """Return the conformal sets of networks that have a validation part, by which the rule chooses."""
    return [sets_row(network, of_run(network), rule) for network in networks if network.validation is not None]


def sets_row(judged: Judged, network: NetworkCells, rule: Callable[[Predictions], Sets]) -> SetsRow:
    """Return the conformal sets of a network; in each cell the rule chooses by the validation part, which it must have.

    Args:
        judged: what the row is about.
    """

    def sets(cell: NetworkPredictions) -> tuple[NDArray[Any], ...]:
        assert cell.validation is not None
        return cell.test.targets, rule(cell.validation)(cell.test.probabilities)

    places = {"coverage": 1, "size": 2, "single": 3}
    additive = {key: Additive(_of_sets, partial(_mean, place)) for key, place in places.items()}
    metrics = {key: Metric(key, key, ONE_CLASS, value, additive=value) for key, value in additive.items()}
    estimates = network.estimates(metrics, sets)
    (targets, chosen), _ = joined(list(network.cells.values()), sets)
    shares = set_quality(targets, chosen).coverage_by_class
    by_class = [None if np.isnan(share) else float(share) for share in shares]
    return SetsRow(judged, estimates["coverage"], estimates["size"], estimates["single"], by_class)


def selective_rows(networks: Sequence[NetworkPredictions]) -> list[SelectiveRow]:
    """Return how the error rate falls with the share of images that are answered."""
    return [selective_row(network, of_run(network)) for network in networks]


def selective_row(judged: Judged, network: NetworkCells) -> SelectiveRow:
    """Return how a network's error rate falls; within cells, since confidence ranks images, and then their mean.

    Args:
        judged: what the row is about.
    """
    area = Metric(
        "aurc",
        "AURC",
        ONE_CLASS,
        lambda right, confidence: risk_coverage(right, confidence).area,
        higher_is_better=False,
        prepare=lambda right, confidence, group, groups: resampled_risk_area(confidence, ~right, group, groups),
        ranks=True,
    )
    curves = [risk_coverage(*_answers(cell)) for cell in network.cells.values()]
    risks = [float(np.mean([risk_at_coverage(curve, share) for curve in curves])) for share in ANSWERED]
    return SelectiveRow(judged, risks, network.estimates({"aurc": area}, _answers)["aurc"])


def risk_figure(networks: Sequence[NetworkPredictions]) -> Figure:
    """Return error rate over the share of images answered, most confident first."""
    with sketch("Error rate over the share of images answered", "share answered", "error rate") as drawing:
        for network in networks:
            curve = risk_coverage(*_answers(network))
            shown = curve.coverage >= 0.05  # of fewer images the rate jumps
            colour, line = SERIES[network.entry.colour - 1], network.entry.line
            drawing.axes.plot(curve.coverage[shown], curve.risk[shown], color=colour, linestyle=line, linewidth=1.4)
        drawing.axes.set_xlim(0, 1)
        drawing.axes.set_ylim(bottom=0)
    return Figure(drawing.svg, "Error rate of the images answered", "the most confident first")


def _answers(network: NetworkPredictions) -> tuple[NDArray[np.bool_], Floats]:
    scores = network.test.probabilities
    return scores.argmax(axis=1) == network.test.targets, scores.max(axis=1)


def _of_sets(targets: NDArray[np.integer], sets: NDArray[np.bool_]) -> Floats:
    """Return what each image adds to images, covered ones, classes in sets and sets of one class."""
    sizes, held = sets.sum(axis=1), sets[np.arange(len(targets)), targets]
    return np.stack([np.ones(len(targets)), held, sizes, sizes == 1], axis=1).astype(np.float64)


def _mean(place: int, sums: Floats) -> Floats:
    return sums[..., place] / sums[..., 0]
