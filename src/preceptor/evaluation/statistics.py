"""Whether one method is better than another, given a few folds and seeds.

Two questions, two answers. *Would the difference be there with other folds?* Paired differences, averaged over the
seeds of a fold, and the corrected resampled t-test over the folds. *Would it be there with other patients?* A bootstrap
over patients or lesions of the predictions of all folds together. Neither contains the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.special import stdtr, stdtrit

from preceptor.report.intervals import LEVEL, SAMPLES, SEED

Floats = NDArray[np.float64]
ALPHA = 0.05
FEW = 2  # folds; a test on them has one degree of freedom and shows huge effects at best
_BLOCK = 100  # resamplings at a time: bounds the memory of large data sets
_SAME = 1e-12  # a smaller spread of differences is rounding


@dataclass(frozen=True)
class Spread:
    """Mean of some cells and their sample standard deviation (n - 1), None of a single one."""

    mean: float
    std: float | None
    cells: int


@dataclass(frozen=True)
class PairedTest:
    """What :func:`corrected_t_test` found.

    Attributes:
        folds: how many there were, which is what the test counts.
        mean: of the folds' mean differences; None without one.
        low, high: 95 % interval of the mean, None where there is no test.
        p: two-sided, uncorrected for the number of tests; None where there is no test.
        reason: why there is no test, in words.
    """

    folds: int
    mean: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    reason: str = ""

    def at_level(self, level: float) -> PairedTest:
        """The same test with the interval of another confidence level, such as 0.99."""
        if self.mean is None or self.high is None or self.folds < 2:
            return self
        quantiles = [float(stdtrit(self.folds - 1, (1 + each) / 2)) for each in (level, LEVEL)]
        half = (self.high - self.mean) * quantiles[0] / quantiles[1]
        return replace(self, low=self.mean - half, high=self.mean + half)


def spread(values: ArrayLike) -> Spread | None:
    """Mean and sample standard deviation; None of nothing."""
    found = np.asarray(values, dtype=np.float64)
    if not len(found):
        return None
    return Spread(float(found.mean()), float(found.std(ddof=1)) if len(found) > 1 else None, len(found))


def corrected_t_test(differences: Sequence[ArrayLike], test_share: float) -> PairedTest:
    """The corrected resampled t-test of whether the mean of paired differences is zero.

    Folds share training images, so that differences are not independent and a plain paired t-test finds what is not
    there. C. Nadeau and Y. Bengio, "Inference for the Generalization Error", Machine Learning 52 (2003), sec. 4: with
    sample variance s² of k differences the variance of their mean is taken as (1/k + n_test/n_train)·s², with k - 1
    degrees of freedom. At ``test_share`` 0 it is the plain test.

    Their k differences come from k splits. Seeds of one fold share all images of both parts and are no further splits:
    they are averaged first, k is the number of folds, and one fold is no test, with however many seeds. Every fold
    counts once, also where some lack seeds.

    Args:
        differences: of each of k folds one method less another on the same seed, one number or one for each seed.
        test_share: n_test / n_train, the images of a test part over those of a training part.

    Raises:
        ValueError: a difference that is not finite, a fold without one, or a negative ``test_share``.
    """
    seeds = [np.atleast_1d(np.asarray(one, dtype=np.float64)) for one in differences]
    if not all(len(one) and np.isfinite(one).all() for one in seeds) or test_share < 0:
        raise ValueError(f"differences {seeds} and test_share {test_share}; expected finite numbers and a share ≥ 0")
    found, folds = np.array([one.mean() for one in seeds]), len(seeds)
    if not folds:
        return PairedTest(0, None, reason="no cell in common")
    mean = float(found.mean())
    if folds < 2:
        shared = f"; its {len(seeds[0])} seeds share their images" if len(seeds[0]) > 1 else ""
        return PairedTest(folds, mean, reason=f"one fold in common{shared}")
    if np.ptp(found) < _SAME:
        if abs(mean) < _SAME:
            return PairedTest(folds, mean, 0.0, 0.0, 1.0)
        return PairedTest(folds, mean, reason="all differences are equal")
    error = float(np.sqrt((1 / folds + test_share) * found.var(ddof=1)))
    freedom = folds - 1
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    return PairedTest(folds, mean, mean - half, mean + half, float(2 * stdtr(freedom, -abs(mean) / error)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for how many there are (S. Holm 1979), in the order given; None, no test, stays and counts not.

    The smallest is multiplied by their number m, the next by m - 1 …; none becomes smaller than one before it, or more
    than 1.
    """
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    least = 0.0
    for place, (p, index) in enumerate(known):
        least = max(least, min(1.0, (len(known) - place) * p))
        adjusted[index] = least
    return adjusted


def holm_levels(p_values: Sequence[float | None]) -> list[float | None]:
    """Confidence levels at which an interval excludes zero exactly when Holm's adjusted p-value is below 0.05.

    Holm tests the smallest of m p-values at 0.05/m, the next at 0.05/(m - 1) … up to the first that is not significant;
    that one's level holds for all larger ones too.

    >>> holm_levels([0.001, 0.02, None])
    [0.975, 0.95, None]
    """
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    levels: list[float | None] = [None] * len(p_values)
    divisor = len(known)
    rejecting = True
    for p, index in known:
        levels[index] = 1 - ALPHA / divisor
        rejecting = rejecting and p < ALPHA / divisor
        divisor -= rejecting
    return levels


class Resampling:
    """Draws of whole groups with replacement, the same for every method, so that their samples may be subtracted.

    Args:
        groups: of all images of a study, in any order and with repeats.
        samples: how many draws.
        seed: fixed, so that the same runs give the same report.
    """

    def __init__(self, groups: ArrayLike, samples: int = SAMPLES, seed: int = SEED) -> None:
        self.names = np.unique(np.asarray(groups, dtype=str))
        draw = np.random.default_rng(seed)
        even = np.full(len(self.names), 1 / len(self.names))
        blocks = [min(_BLOCK, samples - start) for start in range(0, samples, _BLOCK)]
        self.times = np.concatenate(
            [draw.multinomial(len(self.names), even, size=size).astype(np.uint16) for size in blocks]
        )

    def __len__(self) -> int:
        return len(self.times)

    def index(self, groups: ArrayLike) -> NDArray[np.intp]:
        """The places of some groups in ``names``."""
        return np.searchsorted(self.names, np.asarray(groups, dtype=str))

    def blocks(self) -> Iterator[Floats]:
        """How often each group was drawn, (some, G): once each first, which gives the figures themselves."""
        yield np.ones((1, len(self.names)))
        for start in range(0, len(self.times), _BLOCK):
            yield self.times[start : start + _BLOCK].astype(np.float64)


@dataclass(frozen=True)
class Sampled:
    """A figure of pooled predictions and the same in every resampling, (S,); NaN where one has no class twice."""

    value: float
    samples: Floats


def resampled_classes(
    tables: Mapping[Any, pd.DataFrame], classes: Sequence[str], resampling: Resampling
) -> dict[str, Sampled]:
    """Figures of a classifier from its predictions on all test parts together.

    As in :func:`preceptor.evaluation.metrics.classification_metrics`, macro means run over the classes that occur (in
    the resampling). Seeds are not pooled: the figures are the means over seeds.

    Args:
        tables: of each seed, the test rows of its folds: group, target, predicted, ``p_<class>``.
        classes: the class names.
        resampling: of (at least) these groups.

    Returns:
        ``balanced_accuracy``, ``accuracy``, ``macro_f1``, ``macro_auc``.
    """
    return _mean_over([_Classified(table, classes, resampling) for table in tables.values()], resampling)


def resampled_masks(
    tables: Mapping[Any, pd.DataFrame], classes: Sequence[str], resampling: Resampling
) -> dict[str, Sampled]:
    """The same of a segmenter.

    Args:
        tables: of each seed, rows as :meth:`preceptor.evaluation.masks.MaskMeter.rows` gives them, and ``group``.
        classes: of the pixels, background first.

    Returns:
        ``iou`` and ``dice``, means over images, and ``iou_pooled`` and ``dice_pooled``, of the pixels of all images.
    """
    return _mean_over([_Masked(table, classes, resampling) for table in tables.values()], resampling)


def _mean_over(parts: Sequence[_Classified] | Sequence[_Masked], resampling: Resampling) -> dict[str, Sampled]:
    found: dict[str, list[Floats]] = {}
    for times in resampling.blocks():
        of_parts = [part.figures(times) for part in parts]
        for name in of_parts[0] if of_parts else ():
            found.setdefault(name, []).append(np.mean([figures[name] for figures in of_parts], axis=0))
    joined = {name: np.concatenate(values) for name, values in found.items()}
    return {name: Sampled(float(values[0]), values[1:]) for name, values in joined.items()}


class _Masked:
    """Sums over groups, of which any resampling's figures follow."""

    def __init__(self, table: pd.DataFrame, classes: Sequence[str], resampling: Resampling) -> None:
        group, size = resampling.index(table["group"]), len(resampling.names)
        endings = [f"_{name}" for name in classes[1:]] if len(classes) > 2 else [""]
        iou, truth, said = (
            table[[kind + ending for ending in endings]].to_numpy(np.float64)
            for kind in ("iou", "target_pixels", "predicted_pixels")
        )
        both = iou * (truth + said) / (1 + iou)  # of which the IoU was made
        of_images = np.column_stack([np.ones(len(table)), table[["iou", "dice"]].to_numpy(np.float64)])
        self.sums = np.zeros((size, 3 + 3 * len(endings)))
        np.add.at(self.sums, group, np.hstack([of_images, truth, said, both]))

    def figures(self, times: Floats) -> dict[str, Floats]:
        """Metric -> its value under every resampling; ``times`` (resamplings, groups) counts each group's draws."""
        sums = times @ self.sums
        images, iou, dice = sums[:, :3].T
        truth, said, both = np.split(sums[:, 3:], 3, axis=1)
        counts = np.where((truth > 0).any(axis=1, keepdims=True), truth > 0, True)  # else all classes, as in a run
        some = np.maximum(truth + said, 1)
        pooled = {
            "iou_pooled": np.where(truth + said > 0, both / np.maximum(some - both, 1), 1.0),
            "dice_pooled": np.where(truth + said > 0, 2 * both / some, 1.0),
        }
        with np.errstate(invalid="ignore"):
            return {"iou": iou / images, "dice": dice / images} | {
                name: (values * counts).sum(axis=1) / counts.sum(axis=1) for name, values in pooled.items()
            }


class _Classified:
    """Counts over groups and ranks of scores, of which any resampling's figures follow."""

    def __init__(self, table: pd.DataFrame, classes: Sequence[str], resampling: Resampling) -> None:
        group = resampling.index(table["group"])
        index = {name: place for place, name in enumerate(classes)}
        target, said = (table[key].map(index).to_numpy() for key in ("target", "predicted"))
        shape = (len(resampling.names), len(classes))
        self.cases, self.called, self.hits = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        np.add.at(self.cases, (group, target), 1)
        np.add.at(self.called, (group, said), 1)
        right = target == said
        np.add.at(self.hits, (group[right], target[right]), 1)
        self.ranked = [
            _Ranked(table[f"p_{name}"].to_numpy(float), target == place, group, len(resampling.names))
            for place, name in enumerate(classes)
        ]

    def figures(self, times: Floats) -> dict[str, Floats]:
        """As for masks: metric -> its value under every resampling."""
        drawn = np.ascontiguousarray(times.T)
        cases, called, hits = times @ self.cases, times @ self.called, times @ self.hits
        with np.errstate(invalid="ignore", divide="ignore"):
            f1 = np.where(cases > 0, 2 * hits / (cases + called), np.nan)
            return {
                "balanced_accuracy": _mean_of_known(hits / cases),
                "accuracy": hits.sum(1) / cases.sum(1),
                "macro_f1": _mean_of_known(f1),
                "macro_auc": _mean_of_known(np.stack([one.areas(drawn) for one in self.ranked], axis=1)),
            }


class _Ranked:
    """The area under one class's ROC curve: the share of pairs (case, other) that the score puts in order."""

    def __init__(self, scores: Floats, is_case: NDArray[np.bool_], group: NDArray[np.intp], groups: int) -> None:
        order = np.argsort(scores[~is_case], kind="stable")
        others = scores[~is_case][order]
        below, not_above = (np.searchsorted(others, scores[is_case], side=side) for side in ("left", "right"))
        # Others between two places where a case stands are only ever counted together.
        places = np.unique(np.concatenate([below, not_above]))
        stretch = np.searchsorted(places, np.arange(len(others)), side="right")
        shape = (len(places) + 1, groups)
        self.others = csr_array((np.ones(len(others)), (stretch, group[~is_case][order])), shape=shape)
        ends = np.searchsorted(places, np.concatenate([below, not_above]))  # a tie is half a pair
        self.cases = csr_array((np.full(len(ends), 0.5), (ends, np.tile(group[is_case], 2))), shape=shape)

    def areas(self, drawn: Floats) -> Floats:
        """(S,) of the draws (G, S)."""
        before, cases = self.others @ drawn, self.cases @ drawn
        np.cumsum(before, axis=0, out=before)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.einsum("ks,ks->s", cases, before) / (cases.sum(0) * before[-1])


def _mean_of_known(values: Floats) -> Floats:
    """Mean over columns, NaN left out; NaN where nothing is left."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(1) / known.sum(1)
