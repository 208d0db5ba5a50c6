"""Resampled calibration slopes against fits to the drawn images."""

from __future__ import annotations

import numpy as np
import pytest

from preceptor.evaluation.calibration import calibration_slope
from preceptor.evaluation.resampling import Resampling
from preceptor.evaluation.slope_resampling import resampled_slope


def test_one_step_is_close_to_a_fit_to_each_resampling() -> None:
    draw = np.random.default_rng(0)
    logit = draw.normal(size=600)
    truth = draw.random(600) < 1 / (1 + np.exp(-0.6 * logit - 0.3))
    chance = 1 / (1 + np.exp(-logit))
    groups = np.arange(600) // 2
    resampling = Resampling(groups, samples=60)
    group = resampling.index(groups)
    whole = calibration_slope(truth, chance)
    prepared = resampled_slope(*whole, truth, chance, group, len(resampling.names))
    times = resampling.times.astype(float)
    samples = np.stack([each(times) for each in prepared], axis=1)
    rows = [np.repeat(np.arange(600), each[group]) for each in resampling.times]
    exact = np.array([calibration_slope(truth[row], chance[row]) for row in rows])
    assert np.abs(samples - exact).max() < 0.4 * exact.std(axis=0).max()
    assert samples.std(axis=0) == pytest.approx(exact.std(axis=0), rel=0.05)
    every = np.ones((1, len(resampling.names)))
    assert [float(each(every)[0]) for each in prepared] == pytest.approx(whole, abs=1e-8)
