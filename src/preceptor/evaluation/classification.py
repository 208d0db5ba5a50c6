"""The figures of a classifier on one part, ready for ``metrics.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from preceptor.evaluation.metrics import Metric, metrics_of
from preceptor.evaluation.metrics.registry import values_of

SUM_TOLERANCE = 1e-3  # of a row of probabilities; wide enough for a softmax in half precision


def classification_metrics(
    targets: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    metrics: Mapping[str, Metric] | None = None,
) -> dict[str, Any]:
    """Return the metrics of one network on one part.

    The predicted class is the most probable one (the first, among equals). Classes without a case are left out of
    macro means, named under ``absent_classes``, and their recall is None.

    Args:
        targets: (N,) class indices in ``0 … C-1``.
        probabilities: (N, C), rows sum to one.
        classes: the C class names, in the order of the columns.
        metrics: by key; those of classification unless given.

    Returns:
        ``cases``, each metric (None where it is undefined), ``per_class_recall`` and ``absent_classes``.

    Raises:
        ValueError: on wrong shapes, an index out of range, no case at all, NaN or values that are no probabilities.

    >>> figures = classification_metrics([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], ["nevus", "melanoma"])
    >>> figures["balanced_accuracy"], figures["per_class_recall"]
    (0.75, {'nevus': 1.0, 'melanoma': 0.5})
    """
    true, scores = checked_classes(targets, probabilities, len(classes))
    hit = scores.argmax(axis=1) == true
    cases, hits = np.bincount(true, minlength=len(classes)), np.bincount(true[hit], minlength=len(classes))
    return {
        "cases": len(true),
        **values_of(metrics_of("classification") if metrics is None else metrics, true, scores),
        "per_class_recall": {
            name: float(hits[index] / cases[index]) if cases[index] else None for index, name in enumerate(classes)
        },
        "absent_classes": [name for index, name in enumerate(classes) if not cases[index]],
    }


def checked_classes(
    targets: ArrayLike, probabilities: ArrayLike, width: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return class indices (N,) and probabilities (N, C) as arrays.

    Raises:
        ValueError: see :func:`classification_metrics`.
    """
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
