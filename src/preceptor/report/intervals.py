"""How far a figure would move with another draw of test lesions: a paired bootstrap over groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SAMPLES = 2000
SEED = 20_230_517  # fixed, so that the same runs give the same page
LEVEL = 0.95
_BLOCK = 100  # resamplings at a time: bounds the memory of large test parts


@dataclass(frozen=True)
class Interval:
    """A percentile interval, in the unit of what was resampled."""

    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        return self.low <= 0 <= self.high


def balanced_accuracy_samples(predictions: pd.DataFrame, split: pd.DataFrame) -> NDArray[np.float64]:
    """Balanced accuracy of one network in ``SAMPLES`` resamplings of the test part, with replacement.

    Whole groups (lesions, patients) are drawn, since images of one lesion are not independent. The draws depend on the
    groups alone, so that two networks tested on the same images meet the same resamplings and their samples may be
    subtracted. A class that a resampling misses is left out of that mean.

    Args:
        predictions: the rows of one network: id, target, predicted.
        split: id and group of (at least) these images.

    Returns:
        (SAMPLES,) values in [0, 1].
    """
    group, groups = _groups(predictions, split)
    classes, target = np.unique(predictions["target"].to_numpy(dtype=str), return_inverse=True)
    hit = (predictions["target"] == predictions["predicted"]).to_numpy()
    cases = np.zeros((groups, len(classes)))
    hits = np.zeros_like(cases)
    np.add.at(cases, (group, target), 1)
    np.add.at(hits, (group[hit], target[hit]), 1)
    samples = []
    for times in _resamplings(groups):
        with np.errstate(invalid="ignore"):
            samples.append(np.nanmean((times @ hits) / (times @ cases), axis=1))
    return np.concatenate(samples)


def pooled_iou_samples(predictions: pd.DataFrame, split: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.float64]:
    """IoU of the pixels of all images together in the same resamplings; for masks, see ``iou_pooled`` of a run.

    The mean over the foreground classes that occur in the truth of a resampling, over all where none does.

    Args:
        predictions: the rows of one network: id, and pixels and IoU, of each class where there are several.
        split: id and group of (at least) these images.
        classes: of the pixels, background first.

    Returns:
        (SAMPLES,) values in [0, 1].
    """
    group, groups = _groups(predictions, split)
    endings = [f"_{name}" for name in classes[1:]] if len(classes) > 2 else [""]
    iou, truth, said = (
        predictions[[kind + ending for ending in endings]].to_numpy(dtype=np.float64)
        for kind in ("iou", "target_pixels", "predicted_pixels")
    )
    both = iou * (truth + said) / (1 + iou)  # of which the IoU was made
    pixels = np.zeros((groups, 3 * len(endings)))
    np.add.at(pixels, group, np.hstack([truth, both, truth + said - both]))
    samples = []
    for times in _resamplings(groups):
        of_truth, of_both, of_either = np.split(times @ pixels, 3, axis=1)
        occurs = of_truth > 0
        occurs |= ~occurs.any(axis=1, keepdims=True)
        shares = np.where(of_either > 0, of_both / np.maximum(of_either, 1), 1.0)
        samples.append((shares * occurs).sum(axis=1) / occurs.sum(axis=1))
    return np.concatenate(samples)


def _groups(predictions: pd.DataFrame, split: pd.DataFrame) -> tuple[NDArray[np.int64], int]:
    """The group of each row, numbered in the order of their names, and how many there are."""
    groups = predictions["id"].map(split.set_index("id")["group"])
    names, group = np.unique(groups.to_numpy(dtype=str), return_inverse=True)
    return group, len(names)


def _resamplings(groups: int) -> Iterator[NDArray[np.int64]]:
    """How often each group is drawn, (_BLOCK, groups) at a time, ``SAMPLES`` in all."""
    draw = np.random.default_rng(SEED)
    for _ in range(0, SAMPLES, _BLOCK):
        yield draw.multinomial(groups, np.full(groups, 1 / groups), size=_BLOCK)


def interval(samples: NDArray[np.float64]) -> Interval:
    """The central 95 % of the samples."""
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
