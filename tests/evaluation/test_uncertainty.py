"""Conformal sets, selective prediction and calibration, against loops and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from preceptor.evaluation.calibration import (
    calibration_slope,
)
from preceptor.evaluation.conformal import conformal_thresholds, prediction_sets, set_quality
from preceptor.evaluation.selective import risk_at_coverage, risk_coverage


def _cases(count: int, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    targets = draw.choice(classes, size=count, p=[0.7, 0.1, 0.1, 0.1])
    scores = np.exp(draw.normal(size=(count, classes)) + 2 * np.eye(classes)[targets])
    return targets, scores / scores.sum(axis=1, keepdims=True)


def test_the_threshold_is_the_quantile_of_the_theorem() -> None:
    targets, scores = _cases(99)
    own = sorted(1 - scores[row, target] for row, target in enumerate(targets))
    # n = 99, error 0.1: the ⌈100 · 0.9⌉ = 90th smallest score.
    assert conformal_thresholds(targets, scores, 0.1) == pytest.approx([1 - own[89]] * 4)


@pytest.mark.parametrize("error", [0.05, 0.1, 0.3])
def test_sets_cover_as_often_as_stated_also_in_each_class(error: float) -> None:
    (targets, scores), (fresh, fresh_scores) = _cases(20_000, seed=1), _cases(20_000, seed=2)
    marginal = set_quality(fresh, prediction_sets(fresh_scores, conformal_thresholds(targets, scores, error)))
    assert marginal.coverage == pytest.approx(1 - error, abs=0.012)
    of_class = set_quality(
        fresh, prediction_sets(fresh_scores, conformal_thresholds(targets, scores, error, by_class=True))
    )
    assert of_class.coverage_by_class == pytest.approx(np.full(4, 1 - error), abs=0.03)
    assert of_class.sizes.sum() == 20_000
    assert of_class.size == pytest.approx(of_class.sizes @ np.arange(5) / 20_000)


def test_too_few_images_put_every_class_into_the_set() -> None:
    assert conformal_thresholds([0], [[0.9, 0.1]], 0.1).tolist() == [0, 0]


def test_risk_and_its_area_by_loops() -> None:
    draw = np.random.default_rng(0)
    right, confidence = draw.random(40) < 0.7, draw.permutation(40) / 40
    curve = risk_coverage(right, confidence)
    ranked = right[np.argsort(-confidence)]
    literal = [1 - ranked[:k].mean() for k in range(1, 41)]
    assert curve.risk == pytest.approx(literal)
    assert curve.coverage == pytest.approx(np.arange(1, 41) / 40)
    assert curve.area == pytest.approx(np.mean(literal))
    assert risk_at_coverage(curve, 0.5) == pytest.approx(literal[19])


def test_equally_confident_images_are_answered_together() -> None:
    curve = risk_coverage([True, False], [0.5, 0.5])
    assert (curve.coverage.tolist(), curve.risk.tolist(), curve.area) == ([1.0], [0.5], 0.5)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, -1.0), (3.0, 0.7)])
def test_slope_and_intercept_are_scikit_learns_and_those_of_the_data(slope: float, intercept: float) -> None:
    draw = np.random.default_rng(0)
    logit = draw.normal(size=4000)
    truth = draw.random(4000) < 1 / (1 + np.exp(-(slope * logit + intercept)))
    fitted = calibration_slope(truth, 1 / (1 + np.exp(-logit)))
    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(logit[:, None], truth)
    assert fitted == pytest.approx((theirs.coef_[0, 0], theirs.intercept_[0]), abs=1e-4)
    assert fitted == pytest.approx((slope, intercept), abs=0.25)


@pytest.mark.parametrize("chance", [[0.1, 0.2, 0.8, 0.9], [0.5, 0.5, 0.5, 0.5]])
def test_no_slope_is_refused(chance: list[float]) -> None:
    with pytest.raises(ValueError, match="no slope is best"):
        calibration_slope([0, 0, 1, 1], chance)
