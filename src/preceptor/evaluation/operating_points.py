"""Operating points of a binary test: thresholds chosen on one part, sensitivity and specificity on another.

A score at or above the threshold is called positive. For several classes, :func:`positive_score` makes one score of
the classes that count as positive (melanoma, or all malignant ones).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and how the test does with it on some images.

    Attributes:
        threshold: scores at or above it are called positive.
        sensitivity: share of positives that are called so; None without a positive.
        specificity: share of negatives that are not; None without a negative.
        positives, negatives: how many images there are of each.
    """

    threshold: float
    sensitivity: float | None
    specificity: float | None
    positives: int
    negatives: int


def positive_score(probabilities: ArrayLike, positive: Sequence[int]) -> Floats:
    """Return the probability (N,) that an image is of any of the classes ``positive``, from probabilities (N, C)."""
    return np.asarray(probabilities, dtype=np.float64)[:, list(positive)].sum(axis=1)


def threshold_at_specificity(is_positive: ArrayLike, scores: ArrayLike, specificity: float) -> float:
    """Return the lowest threshold at which at least this share of negatives is not called positive.

    Args:
        is_positive: (N,) truth, of the validation part.
        scores: (N,).
        specificity: in (0, 1].

    Raises:
        ValueError: wrong shapes, scores that are not finite, no negative, or a share out of range.

    >>> threshold_at_specificity([0, 0, 0, 0, 1], [0.1, 0.2, 0.3, 0.9, 0.8], specificity=0.75)
    0.8
    """
    truth, values = _checked(is_positive, scores, specificity)
    negatives = np.sort(values[~truth])
    if not len(negatives):
        raise ValueError("there is no negative to choose a threshold by")
    candidates = np.append(np.unique(values), np.inf)
    kept = np.searchsorted(negatives, candidates, side="left") / len(negatives)
    return float(candidates[np.argmax(kept >= specificity)])


def threshold_at_sensitivity(is_positive: ArrayLike, scores: ArrayLike, sensitivity: float) -> float:
    """Return the highest threshold at which at least this share of positives is called positive.

    Args, Raises: as :func:`threshold_at_specificity`, with positives for negatives.

    >>> threshold_at_sensitivity([1, 1, 1, 1, 0], [0.9, 0.8, 0.7, 0.2, 0.3], sensitivity=0.75)
    0.7
    """
    truth, values = _checked(is_positive, scores, sensitivity)
    positives = np.sort(values[truth])
    if not len(positives):
        raise ValueError("there is no positive to choose a threshold by")
    candidates = np.unique(values)[::-1]
    caught = 1 - np.searchsorted(positives, candidates, side="left") / len(positives)
    return float(candidates[np.argmax(caught >= sensitivity)])


def youden_threshold(is_positive: ArrayLike, scores: ArrayLike) -> float:
    """Return the threshold that maximises sensitivity + specificity − 1 (W. J. Youden 1950), the highest among equals.

    It lies halfway between two scores, so that rounding moves no case across it.

    Raises:
        ValueError: wrong shapes, no positive or no negative.

    >>> youden_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9])
    0.4
    """
    truth, values = _checked(is_positive, scores, 1.0)
    if truth.all() or not truth.any():
        raise ValueError("a threshold needs a positive and a negative to be chosen by")
    distinct = np.unique(values)[::-1]
    caught, kept = (np.sort(values[kind]) for kind in (truth, ~truth))
    sensitivity = 1 - np.searchsorted(caught, distinct, side="left") / len(caught)
    specificity = np.searchsorted(kept, distinct, side="left") / len(kept)
    best = int(np.argmax(sensitivity + specificity))
    below = distinct[best + 1] if best + 1 < len(distinct) else distinct[best]
    return float((distinct[best] + below) / 2)


def at_threshold(is_positive: ArrayLike, scores: ArrayLike, threshold: float) -> OperatingPoint:
    """Return sensitivity and specificity of a threshold that was chosen elsewhere."""
    truth, values = _checked(is_positive, scores, 1.0)
    called = values >= threshold
    positives, negatives = int(truth.sum()), int((~truth).sum())
    return OperatingPoint(
        threshold=float(threshold),
        sensitivity=float(called[truth].mean()) if positives else None,
        specificity=float((~called[~truth]).mean()) if negatives else None,
        positives=positives,
        negatives=negatives,
    )


def _checked(is_positive: ArrayLike, scores: ArrayLike, share: float) -> tuple[NDArray[np.bool_], Floats]:
    truth, values = np.asarray(is_positive).astype(bool), np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or truth.shape != values.shape:
        raise ValueError(f"truth {truth.shape} and scores {values.shape}; expected (N,) both")
    if not np.isfinite(values).all():
        raise ValueError("scores are NaN or infinite")
    if not 0 < share <= 1:
        raise ValueError(f"a share of {share}; expected 0 … 1")
    return truth, values
