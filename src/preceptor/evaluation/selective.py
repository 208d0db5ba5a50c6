"""Selective prediction: leave the least confident images to a human.

Y. Geifman, R. El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RiskCoverage:
    """The share of errors among the most confident images.

    Attributes:
        coverage: (K,) share of images that are answered, ascending, the last 1.
        risk: (K,) share of errors among these.
        area: mean risk over coverages 1/N, 2/N, …, 1 (AURC); images of one confidence are answered together, so that
            each counts with the risk of all of them.
    """

    coverage: Floats
    risk: Floats
    area: float


def risk_coverage(correct: ArrayLike, confidence: ArrayLike) -> RiskCoverage:
    """Return risk against coverage when images are answered from the most confident on.

    Args:
        correct: (N,) whether each prediction is right.
        confidence: (N,), such as the largest probability.

    Raises:
        ValueError: wrong shapes, no image, or a confidence that is not finite.

    >>> curve = risk_coverage([True, False, True], [0.9, 0.5, 0.7])
    >>> curve.risk.round(3).tolist()
    [0.0, 0.0, 0.333]
    """
    right, values = np.asarray(correct).astype(bool), np.asarray(confidence, dtype=np.float64)
    if values.ndim != 1 or right.shape != values.shape or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"correct {right.shape} and confidence {values.shape}; expected finite (N,) both, N ≥ 1")
    order = np.argsort(-values, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)
    answered = ends + 1
    risk = np.cumsum(~right[order])[ends] / answered
    together = np.diff(answered, prepend=0)
    return RiskCoverage(answered / len(values), risk, float((risk * together).sum() / len(values)))


def risk_at_coverage(curve: RiskCoverage, coverage: float) -> float:
    """Return the share of errors when at least this share of images is answered."""
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage is {coverage}; expected 0 … 1")
    return float(curve.risk[np.searchsorted(curve.coverage, coverage - 1e-12)])
