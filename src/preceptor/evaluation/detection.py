"""Metrics of one class, or a group of classes such as "malignant", against all others, ready to be resampled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluation.metrics.registry import ONE_CLASS, Additive, Floats, Metric, Resampled
from preceptor.evaluation.operating_points import positive_score
from preceptor.evaluation.ranking import resampled_area, resampled_partial_area

LEAST_TPR = 0.8  # of the ISIC 2024 challenge
Prepare = Callable[[Floats, NDArray[np.bool_], NDArray[np.integer], int], Resampled]


def ranking_metrics(positive: Sequence[int], least_tpr: float = LEAST_TPR) -> dict[str, Metric]:
    """Return area under the ROC curve (``auc``) and partial area above a sensitivity (``partial_auc``).

    Args:
        positive: indices of the classes that count as positive.
        least_tpr: sensitivity above which the partial area is taken.

    >>> area = ranking_metrics([1])["auc"]
    >>> area(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    1.0
    """
    areas: dict[str, tuple[str, Prepare]] = {
        "auc": ("AUC", resampled_area),
        "partial_auc": (f"AUC above {least_tpr:.0%} sensitivity", partial(resampled_partial_area, least_tpr=least_tpr)),
    }
    return {
        key: Metric(
            key, label, ONE_CLASS, partial(_once, positive, area), prepare=partial(_ranked, positive, area), ranks=True
        )
        for key, (label, area) in areas.items()
    }


def threshold_metrics(positive: Sequence[int], thresholds: Mapping[str, float]) -> dict[str, Metric]:
    """Return sensitivity and specificity at thresholds that were chosen elsewhere.

    Args:
        positive: indices of the classes that count as positive.
        thresholds: name → probability from which an image is called positive.

    Returns:
        Metrics under ``sensitivity NAME`` and ``specificity NAME``.

    >>> metrics = threshold_metrics([1], {"at one half": 0.5})
    >>> metrics["specificity at one half"](np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8]]))
    0.5
    """
    ratios = {"sensitivity": _sensitivity, "specificity": _specificity}
    result = {}
    for name, threshold in thresholds.items():
        counts = partial(outcome_counts, positive, threshold)  # shared: its sums are computed once
        for ratio, value in ratios.items():
            additive = Additive(counts, value)
            key = f"{ratio} {name}"
            result[key] = Metric(key, ratio, ONE_CLASS, additive, additive=additive)
    return result


def outcome_counts(
    positive: Sequence[int], threshold: float, targets: NDArray[np.integer], probabilities: Floats
) -> Floats:
    """Return what each image adds to positives, detected positives, negatives and rejected negatives, (N, 4)."""
    truth = np.isin(targets, positive)
    called = positive_score(probabilities, positive) >= threshold
    return np.stack([truth, truth & called, ~truth, ~truth & ~called], axis=1).astype(np.float64)


def _ranked(
    positive: Sequence[int],
    area: Prepare,
    targets: NDArray[np.integer],
    probabilities: Floats,
    group: NDArray[np.integer],
    groups: int,
) -> Resampled:
    return area(positive_score(probabilities, positive), np.isin(targets, positive), group, groups)


def _once(positive: Sequence[int], area: Prepare, targets: NDArray[Any], probabilities: Floats) -> float:
    images = len(targets)
    return float(
        _ranked(positive, area, targets, probabilities, np.arange(images), images)(np.ones((1, images), np.float32))[0]
    )


def _sensitivity(sums: Floats) -> Floats:
    return _ratio(sums[..., 1], sums[..., 0])


def _specificity(sums: Floats) -> Floats:
    return _ratio(sums[..., 3], sums[..., 2])


def _ratio(part: Floats, whole: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return part / whole
