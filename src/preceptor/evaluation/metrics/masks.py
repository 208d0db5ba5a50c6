"""Metrics of masks, from the numbers of pixels of each image and foreground class.

*Per-image* figures are means over images, where networks that predict nothing score well if most masks are empty;
*pooled* figures count the pixels of all images together, and are means over the foreground classes that occur in the
truth (over all, where none does).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from preceptor.evaluation.metrics.classification import mean_of_known
from preceptor.evaluation.metrics.registry import Additive, Floats, Metric, add_metric
from preceptor.evaluation.pixel_counts import PixelCounts, dice, iou

MASKS = ("segmentation",)


def pixels_of_classes(counts: PixelCounts) -> Floats:
    """Return what each image adds to true, predicted and common pixels of each foreground class, (N, 3·(C-1))."""
    return np.hstack([counts.truth, counts.predicted, counts.both]).astype(np.float64)


def pooled(ratio: Callable[..., Floats], sums: Floats) -> Floats:
    """Return the mean over classes of IoU or Dice of all pixels, from sums of :func:`pixels_of_classes`."""
    truth, predicted, both = np.split(sums, 3, axis=-1)
    occurs = truth > 0
    counted = occurs | ~occurs.any(axis=-1, keepdims=True)
    return mean_of_known(np.where(counted, ratio(truth, predicted, both), np.nan))


def per_image_scores(counts: PixelCounts) -> Floats:
    """Return what each image adds to: images, IoU, Dice, and the same of images whose truth is not empty, (N, 6)."""
    scores = np.stack([np.ones(len(counts)), counts.per_image(counts.iou()), counts.per_image(counts.dice())], axis=1)
    return np.hstack([scores, scores * counts.filled[:, None]])


def mean_score(column: int, images: int, sums: Floats) -> Floats:
    """Return the mean of a column of :func:`per_image_scores` over the images counted in another, NaN without one."""
    with np.errstate(invalid="ignore"):
        return sums[..., column] / sums[..., images]


def mean_of_filled(ratio: Callable[[PixelCounts], Floats], counts: PixelCounts) -> float:
    """Return the mean per-image IoU or Dice of the images whose truth is not empty, NaN without one."""
    filled = counts.filled
    return float(counts.per_image(ratio(counts))[filled].mean()) if filled.any() else float("nan")


def pixel_accuracy(counts: PixelCounts) -> float:
    """Share of pixels whose class is predicted, background included; NaN where the pixels were not counted."""
    if counts.correct is None or counts.pixels is None:
        return float("nan")
    return float(counts.correct.sum() / counts.pixels.sum())


_SCORES = {  # key: label, value of the sums, and the function where that is not the same
    "iou_pooled": ("pooled IoU", Additive(pixels_of_classes, partial(pooled, iou)), None),
    "dice_pooled": ("pooled Dice", Additive(pixels_of_classes, partial(pooled, dice)), None),
    "iou": ("mean per-image IoU", Additive(per_image_scores, partial(mean_score, 1, 0)), None),
    "dice": ("mean per-image Dice", Additive(per_image_scores, partial(mean_score, 2, 0)), None),
    "iou_with_target": (
        "mean per-image IoU with a target",
        Additive(per_image_scores, partial(mean_score, 4, 3)),
        partial(mean_of_filled, PixelCounts.iou),
    ),
    "dice_with_target": (
        "mean per-image Dice with a target",
        Additive(per_image_scores, partial(mean_score, 5, 3)),
        partial(mean_of_filled, PixelCounts.dice),
    ),
}
for _key, (_label, _additive, _function) in _SCORES.items():
    add_metric(Metric(_key, _label, MASKS, _function or _additive, additive=_additive))
add_metric(Metric("pixel_accuracy", "pixel accuracy", MASKS, pixel_accuracy, resampled=False))
