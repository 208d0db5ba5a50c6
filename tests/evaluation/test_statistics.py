"""The statistics of studies, against scipy and worked examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from preceptor.evaluation.statistics import (
    corrected_t_test,
    holm,
    spread,
)


def test_spread_is_of_a_sample() -> None:
    result = spread([0.70, 0.72, 0.77])
    assert result is not None
    # mean 0.73; deviations -.03, -.01, .04; squares .0009 + .0001 + .0016 = .0026, halved, rooted.
    assert result.mean == pytest.approx(0.73)
    assert result.std == pytest.approx(np.sqrt(0.0013))
    assert result.cells == 3


def test_one_cell_has_no_spread() -> None:
    result = spread([0.7])
    assert result is not None
    assert (result.mean, result.std) == (0.7, None)
    assert spread([]) is None


def test_without_the_correction_it_is_the_paired_t_test() -> None:
    draw = np.random.default_rng(0)
    for cells in (2, 5, 15):
        mine, theirs = draw.normal(0.7, 0.02, cells), draw.normal(0.69, 0.02, cells)
        result, wanted = corrected_t_test(mine - theirs, 0.0), stats.ttest_rel(mine, theirs)
        assert result.p == pytest.approx(wanted.pvalue, rel=1e-12)
        interval = wanted.confidence_interval(0.95)
        assert (result.low, result.high) == pytest.approx((interval.low, interval.high), rel=1e-12)


def test_worked_example_of_the_correction() -> None:
    # Five folds of 80:20. mean .02, s² = (.01² + .02² + 0 + .02² + .01²) / 4 = .00025;
    # variance of the mean (1/5 + 1/4)·.00025 = .0001125, t = .02 / .0106066 = 1.885618 with 4 degrees of freedom.
    result = corrected_t_test([0.01, 0.04, 0.02, 0.00, 0.03], 0.25)
    assert result.mean == pytest.approx(0.02)
    assert result.higher == 4, "a fold without a difference is not higher"
    assert result.p == pytest.approx(2 * stats.t.sf(1.8856181, 4), rel=1e-6)
    half = 2.7764451 * np.sqrt(0.0001125)  # the table's t for 95 % and 4 degrees of freedom
    assert (result.low, result.high) == pytest.approx((0.02 - half, 0.02 + half), rel=1e-6)
    plain = corrected_t_test([0.01, 0.04, 0.02, 0.00, 0.03], 0.0)
    assert plain.p is not None
    assert result.p is not None
    assert plain.p < 0.05 < result.p  # what the correction is for


@pytest.mark.parametrize(
    ("differences", "reason"),
    [
        ([], "no cell in common"),
        ([0.1], "one fold in common"),
        ([[0.1, 0.2, 0.3]], "one fold in common; its 3 seeds share their images"),
        ([0.1, 0.1, 0.1], "all differences are equal"),
    ],
)
def test_what_cannot_be_tested_is_not(differences: list[Any], reason: str) -> None:
    result = corrected_t_test(differences, 0.25)
    assert (result.p, result.low, result.high) == (None, None, None)
    assert result.reason == reason
    assert result.higher == len(differences), "folds are counted without a test, too"


def test_equal_runs_do_not_differ() -> None:
    assert corrected_t_test([0.0, 0.0, 0.0], 0.25).p == 1.0


def test_nonsense_is_refused() -> None:
    for differences, share in (([0.1, np.nan], 0.25), ([0.1, []], 0.25), ([0.1, 0.2], -0.1)):
        with pytest.raises(ValueError, match="expected finite numbers"):
            corrected_t_test(differences, share)


def test_holm_as_worked_out_by_hand() -> None:
    # In order .01 ·4 = .04, .02 ·3 = .06, .03 ·2 = .06, .04 ·1 = .04 → raised to .06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([None, 0.01, None]) == [None, 0.01, None]
    assert holm([]) == []


def test_correction_keeps_its_level() -> None:
    """Equal methods on training parts that overlap: the plain test finds too much, the corrected one does not."""
    draw = np.random.default_rng(4)
    shared = 0.25 / (1 + 0.25)  # the correlation for which Nadeau and Bengio's variance is exact
    trials = np.sqrt(shared) * draw.normal(size=(2000, 1)) + np.sqrt(1 - shared) * draw.normal(size=(2000, 5))
    plain = np.mean([corrected_t_test(trial, 0.0).p < 0.05 for trial in trials])  # type: ignore[operator]
    corrected = np.mean([corrected_t_test(trial, 0.25).p < 0.05 for trial in trials])  # type: ignore[operator]
    assert plain > 0.1
    assert 0.035 < corrected < 0.065


@pytest.mark.parametrize("seeds", [(5, 5, 5, 5, 5), (5, 5), (5, 5, 5, 5, 1), (1, 1, 1, 1, 5)], ids=str)
def test_seeds_are_no_folds(seeds: tuple[int, ...]) -> None:
    """The level holds for folds × seeds, also where some are missing; with seeds counted as folds it does not."""
    draw, k, trials = np.random.default_rng(4), len(seeds), 1500
    share = 1 / (k - 1)
    shared = share / (1 + share)  # as above, of the folds' means; most of the rest belongs to the fold
    of_fold = np.sqrt(shared) * draw.normal(size=(trials, 1)) + np.sqrt(0.9 * (1 - shared)) * draw.normal(
        size=(trials, k)
    )
    of_seed = np.sqrt(0.1 * (1 - shared) * np.mean(seeds)) * draw.normal(size=(trials, k, max(seeds)))
    cells = [
        [mean + effects[:n] for mean, effects, n in zip(means, ones, seeds, strict=True)]
        for means, ones in zip(of_fold, of_seed, strict=True)
    ]
    by_fold = [corrected_t_test(values, share).p < 0.05 for values in cells]  # type: ignore[operator]
    by_cell = [corrected_t_test(np.concatenate(values), share).p < 0.05 for values in cells]  # type: ignore[operator]
    assert 0.035 < np.mean(by_fold) < 0.065
    assert np.mean(by_cell) > 1.3 * np.mean(by_fold)


def test_a_fold_counts_once_whatever_its_seeds() -> None:
    result = corrected_t_test([[0.00, 0.02], [0.04], [0.01, 0.02, 0.03]], 0.25)
    assert result == corrected_t_test([0.01, 0.04, 0.02], 0.25)
    assert result.folds == 3
