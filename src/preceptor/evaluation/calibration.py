"""Calibration of a classifier: its expected error, and temperature scaling, which lessens it.

C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. (3) and section 4.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 15  # equal intervals of confidence
EDGE = 1e-12  # distance from 0 and 1 that probabilities are moved to where their logit is taken
_NEWTON_STEPS, _STEP_TOLERANCE, _SINGULAR = 50, 1e-10, 1e14
#: Takes the place of smaller probabilities, above all of those that were rounded to zero (float64 gives 1 - p = 0 for a
#: label from a logit of 37 on). Its logarithm, -69, bounds what one case that is wrong and sure weighs in a fit.
_LEAST = 1e-30
_LOG_RANGE = 8.0  # temperatures between e⁻⁸ and e⁸
_STEPS = 60  # halvings: more than a float64 tells apart
#: Temperatures beyond these are an end of the fit's range: nearly every case right, or logits that tell nothing.
_DETERMINED = (0.05, 20.0)


def is_determined(temperature: float) -> bool:
    """Whether a fitted temperature follows from the cases, and is not an end of the range of the fit.

    >>> is_determined(1.3), is_determined(2980.96)
    (True, False)
    """
    return _DETERMINED[0] < temperature < _DETERMINED[1]


def calibration_error(targets: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> float:
    """Return the expected calibration error of the predicted class, in [0, 1].

    The cases are put into ``bins`` equal intervals (low, high] of confidence; the gaps between accuracy and mean
    confidence are averaged, weighted by cases.

    Args:
        targets: (N,) class indices.
        probabilities: (N, C), rows sum to one.

    Raises:
        ValueError: wrong shapes, no case, or fewer than one bin.

    >>> calibration_error([0, 0, 0, 0], [[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.6, 0.4]])
    0.4
    """
    surplus, interval = _surplus(targets, probabilities, bins)
    return float(np.abs(np.bincount(interval, weights=surplus, minlength=bins)).sum() / len(surplus))


def surplus_by_bin(targets: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> NDArray[np.float64]:
    """Return what each case adds to the calibration error: 1, then right (0 or 1) less confidence in its bin's column.

    Returns:
        (N, 1 + bins).
    """
    surplus, interval = _surplus(targets, probabilities, bins)
    columns = np.zeros((len(surplus), 1 + bins))
    columns[:, 0] = 1
    columns[np.arange(len(surplus)), 1 + interval] = surplus
    return columns


def calibration_slope(is_positive: ArrayLike, probabilities: ArrayLike) -> tuple[float, float]:
    """Return slope and intercept of a logistic regression of the truth on the logit of a predicted probability.

    D. R. Cox 1958. Slope 1 and intercept 0 are perfect; a slope below 1 means that probabilities are too extreme.

    Args:
        is_positive: (N,) truth.
        probabilities: (N,) predicted; moved by :data:`EDGE` away from 0 and 1.

    Raises:
        ValueError: wrong shapes, truth of one kind alone, or probabilities that separate it, so that no slope is best.
    """
    truth = np.asarray(is_positive).astype(np.float64)
    chance = np.clip(np.asarray(probabilities, dtype=np.float64), EDGE, 1 - EDGE)
    if chance.ndim != 1 or truth.shape != chance.shape or not 0 < truth.sum() < len(truth):
        raise ValueError(f"truth {truth.shape} and probabilities {chance.shape}; expected (N,) both, and both kinds")
    design = np.stack([np.log(chance / (1 - chance)), np.ones(len(chance))], axis=1)
    weights = np.array([0.0, np.log(truth.mean() / (1 - truth.mean()))])
    for _ in range(_NEWTON_STEPS):
        fitted = 0.5 * (1 + np.tanh(design @ weights / 2))
        curvature = design.T @ (design * (fitted * (1 - fitted))[:, None])
        if not np.isfinite(curvature).all() or np.linalg.cond(curvature) > _SINGULAR:
            break
        step = np.linalg.solve(curvature, design.T @ (truth - fitted))
        weights = weights + step
        if np.abs(step).max() < _STEP_TOLERANCE:
            return float(weights[0]), float(weights[1])
    raise ValueError("the probabilities separate the truth, or are all equal: no slope is best")


def fit_temperature(logits: ArrayLike, targets: ArrayLike) -> float:
    """Return the temperature T that minimises the mean negative log-likelihood of ``softmax(logits / T)``.

    With a = 1/T the likelihood loss is convex, and its slope in a is the mean of Σ_c p_c·z_c − z_y. The slope's zero is
    bracketed by bisection on log a, between −8 and 8; where it lies outside (every case right, or logits that tell
    nothing), the end of the range is returned.

    Args:
        logits: (N, C); logarithms of probabilities do as well.
        targets: (N,) class indices.

    Raises:
        ValueError: wrong shapes, no case, or logits that are not finite.

    >>> import numpy as np
    >>> logits = np.log([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]])
    >>> float(round(fit_temperature(logits, [0, 0, 1, 1]), 3))  # sure to 90 %, right in three of four
    2.0
    """
    scores, true = _checked(logits, targets)
    own = scores[np.arange(len(true)), true]
    low, high = -_LOG_RANGE, _LOG_RANGE
    for _ in range(_STEPS):
        middle = (low + high) / 2
        probabilities = softmax(np.exp(middle) * scores)
        slope = float(np.mean((probabilities * scores).sum(1) - own))
        low, high = (low, middle) if slope > 0 else (middle, high)
    return float(np.exp(-(low + high) / 2))


def determined_temperature(logits: ArrayLike, targets: ArrayLike) -> float | None:
    """Return the fitted temperature; None where the cases do not determine it (see :func:`is_determined`).

    Args:
        logits: (N, C), or the :func:`log_probabilities` that take their place.
        targets: (N,) class indices.

    Raises:
        ValueError: as :func:`fit_temperature`.

    >>> determined_temperature([[3.0, 0.0], [0.0, 3.0]], [0, 1]) is None  # every case right: the surer, the better
    True
    """
    fitted = fit_temperature(logits, targets)
    return fitted if is_determined(fitted) else None


def mean_nll(logits: ArrayLike, targets: ArrayLike, temperature: float = 1.0) -> float:
    """Return the mean negative log-likelihood, in nats, of ``softmax(logits / temperature)``."""
    scores, true = _checked(logits, targets)
    scores = scores / temperature
    most = scores.max(axis=1)
    normaliser = most + np.log(np.exp(scores - most[:, None]).sum(axis=1))
    return float(np.mean(normaliser - scores[np.arange(len(true)), true]))


def rescaled(probabilities: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Return probabilities (N, C) after temperature scaling, softmax(log p / T); one of 0 stays 0.

    >>> rescaled([[0.8, 0.2]], 2.0).round(3).tolist()
    [[0.667, 0.333]]
    """
    return softmax(log_probabilities(probabilities) / temperature)


def log_probabilities(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Return finite logarithms (N, C) of probabilities, which take the place of logits; 0 counts as 1e-30."""
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _LEAST))


def softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """Probabilities (N, C) in float64 of logits (N, C)."""
    scores = np.asarray(logits, dtype=np.float64)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _surplus(targets: ArrayLike, probabilities: ArrayLike, bins: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return right (0 or 1) less confidence of each case (N,), and the interval of its confidence (N,)."""
    if bins < 1:
        raise ValueError(f"bins is {bins}; at least 1 was expected")
    scores, true = _checked(probabilities, targets)
    confidence = scores.max(axis=1)
    edges = np.linspace(0.0, 1.0, bins + 1)
    # Interior edges only: rounding may push a confidence a hair above one.
    interval = np.digitize(confidence, edges[1:-1], right=True)
    return (scores.argmax(axis=1) == true) - confidence, interval


def _checked(logits: ArrayLike, targets: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    scores, true = np.asarray(logits, dtype=np.float64), np.asarray(targets)
    if scores.ndim != 2 or true.shape != scores.shape[:1] or not len(true):
        raise ValueError(f"logits {scores.shape} and targets {true.shape}; expected (N, C) and (N,), N ≥ 1")
    if not np.isfinite(scores).all():
        raise ValueError("logits are NaN or infinite")
    if not np.issubdtype(true.dtype, np.integer) or true.min() < 0 or true.max() >= scores.shape[1]:
        raise ValueError(f"targets are not class indices 0 … {scores.shape[1] - 1}")
    return scores, true.astype(np.int64)
