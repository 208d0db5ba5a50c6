"""How far probabilities can be trusted, before and after temperature scaling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from preceptor.evaluation.calibration import calibration_slope
from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.metrics.registry import Additive, Floats, Metric
from preceptor.evaluation.resampling import Sampled
from preceptor.evaluation.slope_resampling import resampled_slope
from preceptor.report.network_predictions import NOTHING, Estimate, NetworkPredictions, estimate_of


@dataclass(frozen=True)
class CalibrationRow:
    """Calibration of one network on the test part.

    Attributes:
        scaled: whether after temperature scaling.
        error, nll, brier: expected calibration error, negative log-likelihood and Brier score.
        slope, intercept: of a logistic regression of "the predicted class is right" on the logit of its probability.
    """

    network: NetworkPredictions
    scaled: bool
    error: Estimate
    nll: Estimate
    brier: Estimate
    slope: Estimate
    intercept: Estimate


def calibration_rows(networks: Sequence[NetworkPredictions]) -> list[CalibrationRow]:
    """Return each network as it is and, where the validation part determines a temperature, scaled by that."""
    rows = []
    for network in networks:
        rows.append(_row(network, network.test.probabilities, scaled=False))
        if network.temperature is not None:
            rows.append(_row(network, network.calibrated, scaled=True))
    return rows


def _row(network: NetworkPredictions, probabilities: Floats, *, scaled: bool) -> CalibrationRow:
    metrics = {key: METRICS[key] for key in ("calibration_error", "nll")} | {"brier": brier_score()}
    estimates = network.estimates(metrics, probabilities)
    slope, intercept = _slope(network, probabilities)
    return CalibrationRow(
        network,
        scaled,
        estimates["calibration_error"],
        estimates["nll"],
        estimates["brier"],
        slope,
        intercept,
    )


def brier_score() -> Metric:
    """Return the Brier score summed over classes, from 0 to 2, as a metric."""
    additive = Additive(_squared_distance, lambda sums: sums[..., 1] / sums[..., 0])
    return Metric("brier", "Brier score", ("classification",), additive, higher_is_better=False, additive=additive)


def _squared_distance(targets: np.ndarray, probabilities: Floats) -> Floats:
    distance = np.square(probabilities - np.eye(probabilities.shape[1])[targets]).sum(axis=1)
    return np.stack([np.ones(len(distance)), distance], axis=1)


def _slope(network: NetworkPredictions, probabilities: Floats) -> tuple[Estimate, Estimate]:
    right, confidence = probabilities.argmax(axis=1) == network.test.targets, probabilities.max(axis=1)
    try:
        values = calibration_slope(right, confidence)
    except ValueError:  # every prediction is right, or confidence parts right from wrong
        return NOTHING, NOTHING
    draws = network.resampling
    prepared = resampled_slope(*values, right, confidence, network.group_index, len(draws.names))
    samples = [np.concatenate([each(times) for times in draws.blocks()])[1:] for each in prepared]
    slope, intercept = (estimate_of(Sampled(*pair)) for pair in zip(values, samples, strict=True))
    return slope, intercept
