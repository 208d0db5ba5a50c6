"""Whether one method is better than another, given a few folds and seeds.

Two questions, two answers. *Would the difference be there with other folds?* Paired differences, averaged over the
seeds of a fold, and the corrected resampled t-test over the folds. *Would it be there with other patients?* A bootstrap
over patients or lesions of the predictions of all folds together. Neither contains the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from preceptor.evaluation.resampling import LEVEL

ALPHA = 0.05
FEW = 2  # folds; a test on them has one degree of freedom and shows huge effects at best
_SAME = 1e-12  # a smaller spread of differences is rounding


@dataclass(frozen=True)
class Spread:
    """Mean of some cells and their sample standard deviation (n - 1), None for a single cell."""

    mean: float
    std: float | None
    cells: int


@dataclass(frozen=True)
class PairedTest:
    """What :func:`corrected_t_test` found.

    Attributes:
        folds: how many there were, which is what the test counts.
        mean: of the folds' mean differences; None without one.
        higher: folds whose mean difference is above zero.
        low, high: 95 % interval of the mean, None where there is no test.
        p: two-sided, uncorrected for the number of tests; None where there is no test.
        reason: why there is no test, in words.
    """

    folds: int
    mean: float | None
    higher: int = 0
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
    """Mean and sample standard deviation; None for an empty input."""
    cells = np.asarray(values, dtype=np.float64)
    if not len(cells):
        return None
    return Spread(float(cells.mean()), float(cells.std(ddof=1)) if len(cells) > 1 else None, len(cells))


def corrected_t_test(differences: Sequence[ArrayLike], test_share: float) -> PairedTest:
    """The corrected resampled t-test of whether the mean of paired differences is zero.

    Folds share training images, so that differences are not independent and a plain paired t-test finds what is not
    there. C. Nadeau and Y. Bengio, "Inference for the Generalization Error", Machine Learning 52 (2003), sec. 4: with
    sample variance s² of k differences the variance of their mean is taken as (1/k + n_test/n_train)·s², with k - 1
    degrees of freedom. At ``test_share`` 0 it is the plain test.

    Their k differences come from k splits. Seeds of one fold share all images of both parts and are no further splits:
    they are averaged first, k is the number of folds, and one fold gives no test, however many the seeds. Every fold
    counts once, also where some lack seeds.

    Args:
        differences: of each of k folds one method less another on the same seed, one number or one for each seed.
        test_share: n_test / n_train, the images of a test part over those of a training part.

    Raises:
        ValueError: a difference that is not finite, a fold without one, or a negative ``test_share``.
    """
    seeds = [np.atleast_1d(np.asarray(fold, dtype=np.float64)) for fold in differences]
    if not all(len(fold) and np.isfinite(fold).all() for fold in seeds) or test_share < 0:
        raise ValueError(f"differences {seeds} and test_share {test_share}; expected finite numbers and a share ≥ 0")
    means, folds = np.array([fold.mean() for fold in seeds]), len(seeds)
    if not folds:
        return PairedTest(0, None, reason="no cell in common")
    mean, higher = float(means.mean()), int((means > _SAME).sum())
    if folds < 2:
        shared = f"; its {len(seeds[0])} seeds share their images" if len(seeds[0]) > 1 else ""
        return PairedTest(folds, mean, higher, reason=f"one fold in common{shared}")
    if np.ptp(means) < _SAME:
        if abs(mean) < _SAME:
            return PairedTest(folds, mean, higher, 0.0, 0.0, 1.0)
        return PairedTest(folds, mean, higher, reason="all differences are equal")
    error = float(np.sqrt((1 / folds + test_share) * means.var(ddof=1)))
    freedom = folds - 1
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    p = float(2 * stdtr(freedom, -abs(mean) / error))
    return PairedTest(folds, mean, higher, mean - half, mean + half, p)


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
