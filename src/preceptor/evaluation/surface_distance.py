"""Distances between the outlines of a true and a predicted mask.

The outline is the pixels of a mask with a neighbour (above, below, left or right) outside it; those at the image's edge
count. S. Nikolov et al., JMIR 23 (2021), for the normalised surface distance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Spacing = tuple[float, float]


def hausdorff_distance(
    target: ArrayLike, prediction: ArrayLike, percentile: float = 95, spacing: Spacing = (1, 1)
) -> float:
    """Return the larger of the two percentiles of distances from one outline to the other (HD95 by default).

    Args:
        target: (H, W), true where the structure is.
        prediction: (H, W).
        percentile: 100 gives the Hausdorff distance itself.
        spacing: of rows and columns; the result has its unit.

    Returns:
        NaN where both masks are empty, infinity where one is.

    Raises:
        ValueError: shapes that differ, or are not (H, W).

    >>> square = np.zeros((8, 8)); square[2:5, 2:5] = 1
    >>> hausdorff_distance(square, np.roll(square, 2, axis=1))
    2.0
    """
    there, back = _distances(target, prediction, spacing)
    if not len(there) or not len(back):
        return float("nan") if len(there) == len(back) else float("inf")
    return float(max(np.percentile(there, percentile), np.percentile(back, percentile)))


def normalised_surface_distance(
    target: ArrayLike, prediction: ArrayLike, tolerance: float, spacing: Spacing = (1, 1)
) -> float:
    """Return the share of both outlines that lies within a tolerance of the other, in [0, 1] (surface Dice).

    Args:
        tolerance: acceptable distance, in the unit of ``spacing``.
        target, prediction, spacing: as for :func:`hausdorff_distance`.

    Returns:
        NaN where both masks are empty, 0 where one is.

    Raises:
        ValueError: shapes that differ, or are not (H, W), or a negative tolerance.
    """
    if tolerance < 0:
        raise ValueError(f"tolerance is {tolerance}; expected at least 0")
    there, back = _distances(target, prediction, spacing)
    if not len(there) and not len(back):
        return float("nan")
    if not len(there) or not len(back):
        return 0.0
    return float(((there <= tolerance).sum() + (back <= tolerance).sum()) / (len(there) + len(back)))


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels (H, W) of a mask with a neighbour outside it; what lies beyond the image is outside."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def _distances(target: ArrayLike, prediction: ArrayLike, spacing: Spacing) -> tuple[Floats, Floats]:
    """Return the distance of each pixel of the true outline to the predicted one, and the reverse."""
    from scipy.spatial import cKDTree  # faster than a distance map: outlines are short

    masks = [np.asarray(mask).astype(bool) for mask in (target, prediction)]
    if masks[0].shape != masks[1].shape or masks[0].ndim != 2:
        raise ValueError(f"masks {masks[0].shape} and {masks[1].shape}; expected one shape (H, W)")
    true, predicted = (np.argwhere(outline(mask)) * np.asarray(spacing, dtype=np.float64) for mask in masks)
    if not len(true) or not len(predicted):
        return np.zeros(len(true)), np.zeros(len(predicted))
    return cKDTree(predicted).query(true)[0], cKDTree(true).query(predicted)[0]
