"""Decision curves: what acting on a test is worth, at every probability from which one would act.

A. J. Vickers, E. B. Elkin, "Decision Curve Analysis", Medical Decision Making 26 (2006): at threshold probability t the
net benefit is TP/n − FP/n · t/(1 − t).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit per image, in true positives, at each threshold probability.

    Attributes:
        thresholds: (T,) in (0, 1).
        model: (T,) treat those whose probability is at or above the threshold.
        treat_all: (T,) treat everyone. Treating no one has the net benefit 0.
    """

    thresholds: Floats
    model: Floats
    treat_all: Floats


def decision_curve(is_positive: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike) -> DecisionCurve:
    """Return the net benefit of a model and of treating everyone.

    Args:
        is_positive: (N,) truth.
        probabilities: (N,) predicted, calibrated ones: a threshold is a probability.
        thresholds: (T,) in (0, 1).

    Raises:
        ValueError: wrong shapes, no image, or values out of range.

    >>> curve = decision_curve([1, 1, 0, 0], [0.9, 0.4, 0.6, 0.1], [0.5])
    >>> float(curve.model[0]), float(curve.treat_all[0])
    (0.0, 0.0)
    """
    truth, values = np.asarray(is_positive).astype(bool), np.asarray(probabilities, dtype=np.float64)
    steps = np.asarray(thresholds, dtype=np.float64)
    if values.ndim != 1 or truth.shape != values.shape or not len(values):
        raise ValueError(f"truth {truth.shape} and probabilities {values.shape}; expected (N,) both, N ≥ 1")
    if not ((values >= 0) & (values <= 1)).all() or not ((steps > 0) & (steps < 1)).all():
        raise ValueError("probabilities must lie in 0 … 1, and thresholds between 0 and 1")
    called = values[None, :] >= steps[:, None]
    hits, alarms = (called & truth).mean(axis=1), (called & ~truth).mean(axis=1)
    odds = steps / (1 - steps)
    return DecisionCurve(steps, hits - alarms * odds, truth.mean() - (~truth).mean() * odds)
