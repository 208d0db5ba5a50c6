"""How far a balanced accuracy would move with another draw of test lesions: a paired bootstrap over groups."""

from __future__ import annotations

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
    groups = predictions["id"].map(split.set_index("id")["group"])
    names, group = np.unique(groups.to_numpy(dtype=str), return_inverse=True)
    classes, target = np.unique(predictions["target"].to_numpy(dtype=str), return_inverse=True)
    hit = (predictions["target"] == predictions["predicted"]).to_numpy()
    cases = np.zeros((len(names), len(classes)))
    hits = np.zeros_like(cases)
    np.add.at(cases, (group, target), 1)
    np.add.at(hits, (group[hit], target[hit]), 1)
    draw = np.random.default_rng(SEED)
    samples = []
    for _ in range(0, SAMPLES, _BLOCK):
        times = draw.multinomial(len(names), np.full(len(names), 1 / len(names)), size=_BLOCK)
        with np.errstate(invalid="ignore"):
            samples.append(np.nanmean((times @ hits) / (times @ cases), axis=1))
    return np.concatenate(samples)


def interval(samples: NDArray[np.float64]) -> Interval:
    """The central 95 % of the samples."""
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
