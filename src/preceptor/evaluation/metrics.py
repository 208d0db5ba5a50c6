"""Figures of merit of a classifier, from its probabilities alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

CALIBRATION_BINS = 15
SUM_TOLERANCE = 1e-3  # of a row of probabilities; wide enough for a softmax in half precision


def classification_metrics(targets: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]) -> dict[str, Any]:
    """The metrics of one network on one part, ready for JSON.

    The predicted class is the most probable one (the first, among equals). Every macro mean runs over the classes that
    occur in ``targets``: the recall, the AUC and the average precision of a class without a single case do not exist.
    Such classes are named under ``absent_classes``, and their recall is ``None``. The figures agree with
    scikit-learn's when it is given the same ``labels``.

    Args:
        targets: (N,) class indices in ``0 … C-1``.
        probabilities: (N, C), rows sum to one.
        classes: the C class names, in the order of the columns.

    Returns:
        ``accuracy``, ``balanced_accuracy`` (mean recall, the BMA of the ISIC challenges), ``macro_precision`` (0 for a
        class never predicted), ``macro_f1``, ``macro_auc`` (one class against the rest), ``macro_average_precision``,
        ``calibration_error`` (15 bins, see :func:`calibration_error`), ``per_class_recall``, ``cases`` and
        ``absent_classes``. All ratios lie in [0, 1]. ``macro_auc`` is ``None`` when only one class occurs.

    Raises:
        ValueError: on wrong shapes, an index out of range, no case at all, NaN or values that are no probabilities.
    """
    true, scores = _checked(targets, probabilities, len(classes))
    predicted = scores.argmax(axis=1)
    present = np.unique(true)
    precision, recall, f1, _ = precision_recall_fscore_support(true, predicted, labels=present, zero_division=0)
    recalls = dict(zip(present.tolist(), recall.tolist(), strict=True))
    ranked = [(true == index, scores[:, index]) for index in present]
    return {
        "cases": len(true),
        "accuracy": float(accuracy_score(true, predicted)),
        "balanced_accuracy": float(np.mean(recall)),
        "macro_precision": float(np.mean(precision)),
        "macro_f1": float(np.mean(f1)),
        "macro_auc": float(np.mean([roc_auc_score(*pair) for pair in ranked])) if len(present) > 1 else None,
        "macro_average_precision": float(np.mean([average_precision_score(*pair) for pair in ranked])),
        "calibration_error": calibration_error(true, scores),
        "per_class_recall": {name: recalls.get(index) for index, name in enumerate(classes)},
        "absent_classes": [name for index, name in enumerate(classes) if index not in recalls],
    }


def calibration_error(targets: ArrayLike, probabilities: ArrayLike, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error of the predicted class, in [0, 1].

    Guo et al., *On Calibration of Modern Neural Networks* (ICML 2017), eq. (3): the cases are put into ``bins`` equal
    intervals (low, high] of confidence; the gaps between accuracy and mean confidence are averaged, weighted by cases.

    Args:
        targets: (N,) class indices.
        probabilities: (N, C), rows sum to one.
        bins: number of intervals.

    Raises:
        ValueError: as :func:`classification_metrics`, or for fewer than one bin.
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}; at least 1 was expected")
    true, scores = _checked(targets, probabilities)
    confidence = scores.max(axis=1)
    surplus = (scores.argmax(axis=1) == true) - confidence
    edges = np.linspace(0.0, 1.0, bins + 1)
    # Interior edges only: rounding may push a confidence a hair above one.
    interval = np.digitize(confidence, edges[1:-1], right=True)
    return float(np.abs(np.bincount(interval, weights=surplus, minlength=bins)).sum() / len(true))


def _checked(
    targets: ArrayLike, probabilities: ArrayLike, width: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    true, scores = np.asarray(targets), np.asarray(probabilities, dtype=np.float64)
    if scores.ndim != 2 or (width is not None and scores.shape[1] != width):
        columns = "C" if width is None else width
        raise ValueError(f"probabilities have the shape {scores.shape}; expected (N, {columns})")
    if true.shape != scores.shape[:1]:
        raise ValueError(f"targets have the shape {true.shape}; expected {scores.shape[:1]}, one for each row")
    if not len(true):
        raise ValueError("there is no case to measure")
    if not np.issubdtype(true.dtype, np.integer):
        raise ValueError(f"targets are of type {true.dtype}; class indices (integers) were expected")
    if true.min() < 0 or true.max() >= scores.shape[1]:
        raise ValueError(f"targets range over {true.min()} … {true.max()}; expected 0 … {scores.shape[1] - 1}")
    if not np.isfinite(scores).all():
        rows = np.flatnonzero(~np.isfinite(scores).all(axis=1))
        raise ValueError(f"probabilities are NaN or infinite in {len(rows)} of {len(true)} rows, first row {rows[0]}")
    wrong = np.flatnonzero((scores < 0).any(axis=1) | (np.abs(scores.sum(axis=1) - 1) > SUM_TOLERANCE))
    if len(wrong):
        raise ValueError(f"row {wrong[0]} holds no probabilities: {scores[wrong[0]]} (must be ≥ 0 and sum to one)")
    return true.astype(np.int64), scores
