"""What a network could leave to a human: conformal sets of classes, and selective prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluation.conformal import (
    adaptive_sets,
    adaptive_threshold,
    conformal_thresholds,
    prediction_sets,
    set_quality,
)
from preceptor.evaluation.metrics.registry import Additive, Floats, Metric
from preceptor.evaluation.ranking import resampled_risk_area
from preceptor.evaluation.resampling import Sampled
from preceptor.evaluation.selective import risk_at_coverage, risk_coverage
from preceptor.report.canvas import SERIES, Figure, sketch
from preceptor.report.network_predictions import Estimate, Judged, NetworkPredictions, Predictions, estimate_of

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
    return [_sets(network, rule(network.validation)) for network in networks if network.validation is not None]


def selective_rows(networks: Sequence[NetworkPredictions]) -> list[SelectiveRow]:
    """Return how the error rate falls with the share of images that are answered."""
    rows = []
    for network in networks:
        right, confidence = _answers(network)
        curve = risk_coverage(right, confidence)
        draws = network.resampling
        area = resampled_risk_area(confidence, ~right, network.group_index, len(draws.names))
        samples = np.concatenate([area(times) for times in draws.blocks()])
        risks = [risk_at_coverage(curve, share) for share in ANSWERED]
        rows.append(SelectiveRow(network, risks, estimate_of(Sampled(curve.area, samples[1:]))))
    return rows


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


def _sets(network: NetworkPredictions, sets_of: Sets) -> SetsRow:
    statistics = partial(_of_sets, sets_of)
    additive = {
        key: Additive(statistics, partial(_column, place))
        for place, key in enumerate(("coverage", "size", "single"), 1)
    }
    metrics = {key: Metric(key, key, ("classification",), value, additive=value) for key, value in additive.items()}
    estimates = network.estimates(metrics)
    quality = set_quality(network.test.targets, sets_of(network.test.probabilities))
    by_class = [None if np.isnan(share) else float(share) for share in quality.coverage_by_class]
    return SetsRow(network, estimates["coverage"], estimates["size"], estimates["single"], by_class)


def _of_sets(sets_of: Sets, targets: NDArray[np.integer], probabilities: Floats) -> Floats:
    sets = sets_of(probabilities)
    sizes, held = sets.sum(axis=1), sets[np.arange(len(targets)), targets]
    return np.stack([np.ones(len(targets)), held, sizes, sizes == 1], axis=1).astype(np.float64)


def _column(place: int, sums: Floats) -> Floats:
    return sums[..., place] / sums[..., 0]
