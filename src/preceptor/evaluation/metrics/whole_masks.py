"""Metrics that look at whole masks: distances between outlines, and detection of small targets.

Each is the mean over images. A distance is the mean over the foreground classes that the truth or the prediction of an
image holds, in pixels at the network's size; images without any are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluation import small_targets
from preceptor.evaluation.metrics.masks import MASKS
from preceptor.evaluation.metrics.registry import register_metric
from preceptor.evaluation.surface_distance import hausdorff_distance, normalised_surface_distance

TOLERANCE = 2.0  # pixels


@register_metric(
    "hd95",
    label="mean HD95, pixels",
    tasks=MASKS,
    higher_is_better=False,
    digits=1,
    per_image=True,
    every_epoch=False,
)
def hd95(target: NDArray[Any], prediction: NDArray[Any]) -> float:
    """Return the 95th percentile of distances between outlines; the image's diagonal where one mask is empty.

    >>> target = np.zeros((6, 8), int); target[2:4, 2:4] = 1
    >>> hd95(target, np.roll(target, 3, axis=1)), hd95(target, np.zeros_like(target))
    (3.0, 10.0)
    """
    longest = math.hypot(*target.shape)
    return _mean_over_classes(lambda mask, drawn: min(hausdorff_distance(mask, drawn), longest), target, prediction)


@register_metric(
    "nsd_2px",
    label="mean NSD, tolerance 2 pixels",
    tasks=MASKS,
    per_image=True,
    every_epoch=False,
)
def surface_distance_2px(target: NDArray[Any], prediction: NDArray[Any]) -> float:
    """Return the share of both outlines within two pixels of the other (surface Dice); 0 where one mask is empty."""
    return _mean_over_classes(
        lambda mask, drawn: normalised_surface_distance(mask, drawn, TOLERANCE), target, prediction
    )


@register_metric(
    "small_target_detection",
    label=f"small targets detected (under {small_targets.SMALL:.0%} of the image)",
    tasks=MASKS,
    per_image=True,
    every_epoch=False,
)
def small_target_detection(target: NDArray[Any], prediction: NDArray[Any]) -> float:
    """Return the share of an image's small targets that are detected (:mod:`preceptor.evaluation.small_targets`)."""
    return small_targets.small_target_detection(target, prediction)


def _mean_over_classes(
    value: Callable[[NDArray[np.bool_], NDArray[np.bool_]], float], target: NDArray[Any], prediction: NDArray[Any]
) -> float:
    present = np.union1d(target, prediction)
    values = [value(target == index, prediction == index) for index in present[present > 0]]
    return float(np.mean(values)) if values else float("nan")
