"""What mask metrics are computed from: of each image, how many pixels of each class are true, predicted and both.

Of one class's pixels IoU is |truth ∩ prediction| / |truth ∪ prediction|, and Dice, which is their F-score, is
2·|truth ∩ prediction| / (|truth| + |prediction|). Where both masks are empty, both are 1; where one is, 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PixelCounts:
    """Pixels of N images in C - 1 foreground classes.

    Attributes:
        truth, predicted, both: (N, C-1) pixels of each class: true, predicted, and both at once.
        correct, pixels: (N,) pixels whose class is predicted, background included, and all pixels; None where they are
            not known, as from ``predictions.csv``.
        values: (N,) values of the metrics that look at whole masks, by key (``Metric.per_image``).
    """

    truth: Counts
    predicted: Counts
    both: Counts
    correct: Counts | None = None
    pixels: Counts | None = None
    values: Mapping[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        """Images."""
        return len(self.truth)

    def iou(self) -> Floats:
        """Return the IoU of each image and foreground class, (N, C-1)."""
        return iou(self.truth, self.predicted, self.both)

    def dice(self) -> Floats:
        """Return the Dice score of each image and foreground class, (N, C-1)."""
        return dice(self.truth, self.predicted, self.both)

    def per_image(self, of_classes: Floats) -> Floats:
        """Return (N,) means of (N, C-1) values over the classes in an image's truth or prediction, 1 without any."""
        there = self.truth + self.predicted > 0
        shares = there / np.maximum(there.sum(1, keepdims=True), 1)
        return np.where(~there.any(1), 1.0, (of_classes * shares).sum(1))

    def values_of(self, key: str) -> Floats:
        """Return the value of a metric that looks at whole masks in each image, (N,); NaN where it was not computed."""
        return self.values[key] if key in self.values else np.full(len(self), np.nan)

    @property
    def filled(self) -> NDArray[np.bool_]:
        """(N,) whether the truth of an image is not empty."""
        return self.truth.sum(1) > 0


def counts_of(confusion: Counts, values: Mapping[str, Floats]) -> PixelCounts:
    """Return the counts of (N, C, C) pixels of each image, by true and predicted class, the background first."""
    correct = np.diagonal(confusion, axis1=1, axis2=2)
    return PixelCounts(
        truth=confusion.sum(2)[:, 1:],
        predicted=confusion.sum(1)[:, 1:],
        both=correct[:, 1:],
        correct=correct.sum(1),
        pixels=confusion.sum((1, 2)),
        values=values,
    )


def counts_from_rows(table: pd.DataFrame, classes: Sequence[str], keys: Sequence[str] = ()) -> PixelCounts:
    """Return the counts behind rows of ``predictions.csv``.

    Args:
        table: rows of one network, as :meth:`preceptor.evaluation.masks.MaskMeter.rows` writes them.
        classes: of the pixels, the background first.
        keys: metrics with a column of their own (``Metric.per_image``); NaN where the table has none.
    """
    endings = [f"_{name}" for name in classes[1:]] if len(classes) > 2 else [""]
    ratio, truth, predicted = (
        table[[kind + ending for ending in endings]].to_numpy(np.float64)
        for kind in ("iou", "target_pixels", "predicted_pixels")
    )
    both = np.rint(ratio * (truth + predicted) / (1 + ratio))  # the whole number of which the IoU was made
    nothing = np.full(len(table), np.nan)
    values = {key: table[key].to_numpy(np.float64) if key in table else nothing for key in keys}
    return PixelCounts(truth.astype(np.int64), predicted.astype(np.int64), both.astype(np.int64), values=values)


def iou(truth: NDArray, predicted: NDArray, both: NDArray) -> Floats:
    """Return IoU from numbers of pixels, element by element; 1 where both masks are empty.

    >>> float(iou(np.array(4), np.array(4), np.array(2)).round(3))
    0.333
    """
    either = truth + predicted - both
    return np.where(either > 0, both / np.where(either > 0, either, 1), 1.0)


def dice(truth: NDArray, predicted: NDArray, both: NDArray) -> Floats:
    """Return the Dice score from numbers of pixels, element by element; 1 where both masks are empty."""
    total = truth + predicted
    return np.where(total > 0, 2 * both / np.where(total > 0, total, 1), 1.0)
