"""Whether small targets are detected at all, which IoU and Dice of whole images say little about.

A target is a connected area of one class of the true mask, over edges and corners. It is detected where the predicted
areas that touch it overlap it well enough: IoU of at least 0.1, as in PI-CAI (A. Saha et al., Lancet Oncology 25, 2024)
and nnDetection (M. Baumgartner et al., MICCAI 2021), so that painting the whole image detects nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALL = 0.01  # share of the image below which a target is small
LEAST_IOU = 0.1
_NEIGHBOURS = np.ones((3, 3))  # areas hang together over edges and corners


def small_target_detection(
    target: NDArray[Any], prediction: NDArray[Any], small: float = SMALL, least_iou: float = LEAST_IOU
) -> float:
    """Return the share of an image's small targets that are detected, NaN without one.

    Args:
        target: (H, W) class indices, 0 the background.
        prediction: (H, W).
        small: share of the image; only targets below it count.
        least_iou: of a target with the predicted areas of its class that touch it.

    >>> truth = np.zeros((20, 20), int); truth[2:4, 2:4] = 1; truth[15, 15] = 1
    >>> predicted = np.zeros_like(truth); predicted[3:5, 2:4] = 1
    >>> small_target_detection(truth, predicted, small=0.02)
    0.5
    """
    detected: list[NDArray[np.bool_]] = []
    for index in np.unique(target[target > 0]):
        overlap, sizes = _overlaps(target == index, prediction == index)
        is_small = sizes < small * target.size
        detected.append(overlap[is_small] >= least_iou)
    every = np.concatenate(detected) if detected else np.zeros(0)
    return float(every.mean()) if len(every) else float("nan")


def _overlaps(true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return of each connected area of a true mask its IoU with the predicted areas that touch it, and its size."""
    from scipy.ndimage import label

    (targets, count), (areas, others) = (label(mask, _NEIGHBOURS) for mask in (true, predicted))
    shared = np.zeros((count + 1, others + 1), dtype=np.int64)
    np.add.at(shared, (targets.ravel(), areas.ravel()), 1)
    sizes, of_areas = shared.sum(axis=1)[1:], shared.sum(axis=0)[1:]
    common = shared[1:, 1:]
    touching = (common > 0) @ of_areas
    return common.sum(axis=1) / (sizes + touching - common.sum(axis=1)), sizes
