"""How far a calibration slope would move with other patients."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from preceptor.evaluation.calibration import EDGE
from preceptor.evaluation.metrics.registry import Draws, Floats, Resampled


def resampled_slope(
    slope: float,
    intercept: float,
    is_positive: ArrayLike,
    probabilities: ArrayLike,
    group: NDArray[np.integer],
    groups: int,
) -> tuple[Resampled, Resampled]:
    """Prepare calibration slope and intercept in many resamplings of whole groups.

    Each is one Newton step from the fit to all images towards that of the resampling, whose gradient and curvature are
    sums over images (the one-step bootstrap: A. C. Davison, D. V. Hinkley, *Bootstrap Methods*, 1997, sec. 7.2).

    Args:
        slope, intercept: of :func:`preceptor.evaluation.calibration.calibration_slope` for all images.
        is_positive: (N,) truth.
        probabilities: (N,) predicted.
        group: (N,) index of each image's group in 0 … ``groups`` - 1.

    Returns:
        Draws (S, G) -> slopes (S,), and intercepts (S,); NaN where a resampling has no curvature.
    """
    truth = np.asarray(is_positive).astype(np.float64)
    chance = np.clip(np.asarray(probabilities, dtype=np.float64), EDGE, 1 - EDGE)
    logit = np.log(chance / (1 - chance))
    fitted = 0.5 * (1 + np.tanh((slope * logit + intercept) / 2))
    surplus, weight = truth - fitted, fitted * (1 - fitted)
    columns = np.stack([surplus * logit, surplus, weight * logit**2, weight * logit, weight], axis=1)
    sums = np.zeros((groups, 5))
    np.add.at(sums, group, columns)

    def moved(times: Draws) -> tuple[Floats, Floats]:
        by_slope, by_intercept, steep, both, level = (times @ sums).T
        with np.errstate(invalid="ignore", divide="ignore"):
            area = steep * level - both**2
            return (
                slope + (level * by_slope - both * by_intercept) / area,
                intercept + (steep * by_intercept - both * by_slope) / area,
            )

    return lambda times: moved(times)[0], lambda times: moved(times)[1]
