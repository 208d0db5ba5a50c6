"""Thresholds and decision curves, against scikit-learn and loops."""

from __future__ import annotations

import numpy as np
import pytest

from preceptor.evaluation.decision_curve import decision_curve
from preceptor.evaluation.operating_points import (
    at_threshold,
    positive_score,
    threshold_at_sensitivity,
    threshold_at_specificity,
    youden_threshold,
)


def _scores(count: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    truth = draw.random(count) < 0.3
    return truth, np.round(draw.normal(size=count) + 1.5 * truth, 1)  # ties


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_thresholds_are_the_best_of_all_that_keep_the_share(share: float, seed: int) -> None:
    truth, scores = _scores(seed=seed)
    candidates = [*np.unique(scores), np.inf]
    points = [at_threshold(truth, scores, threshold) for threshold in candidates]
    specific = [p for p in points if p.specificity is not None and p.specificity >= share]
    chosen = at_threshold(truth, scores, threshold_at_specificity(truth, scores, share))
    assert chosen.sensitivity == max(p.sensitivity for p in specific if p.sensitivity is not None)
    assert chosen.specificity is not None
    assert chosen.specificity >= share
    sensitive = [p for p in points if p.sensitivity is not None and p.sensitivity >= share]
    chosen = at_threshold(truth, scores, threshold_at_sensitivity(truth, scores, share))
    assert chosen.specificity == max(p.specificity for p in sensitive if p.specificity is not None)


def test_a_threshold_from_one_part_meets_another() -> None:
    truth, scores = _scores(4000)
    threshold = threshold_at_specificity(truth[:2000], scores[:2000], 0.9)
    point = at_threshold(truth[2000:], scores[2000:], threshold)
    assert point.specificity == pytest.approx(0.9, abs=0.03)
    assert point.positives + point.negatives == 2000


def test_classes_that_count_as_positive_are_added() -> None:
    assert positive_score([[0.2, 0.5, 0.3]], [0, 2]) == pytest.approx([0.5])


def test_net_benefit_counted_by_hand() -> None:
    draw = np.random.default_rng(1)
    truth, probabilities = draw.random(50) < 0.4, draw.random(50)
    curve = decision_curve(truth, probabilities, [0.1, 0.25, 0.7])
    for place, t in enumerate((0.1, 0.25, 0.7)):
        hits = sum(1 for y, p in zip(truth, probabilities, strict=True) if y and p >= t)
        alarms = sum(1 for y, p in zip(truth, probabilities, strict=True) if not y and p >= t)
        assert curve.model[place] == pytest.approx(hits / 50 - alarms / 50 * t / (1 - t))
        prevalence = truth.mean()
        assert curve.treat_all[place] == pytest.approx(prevalence - (1 - prevalence) * t / (1 - t))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: threshold_at_specificity([1, 1], [0.1, 0.2], 0.9), "no negative"),
        (lambda: threshold_at_sensitivity([0, 0], [0.1, 0.2], 0.9), "no positive"),
        (lambda: threshold_at_specificity([0, 1], [0.1, np.nan], 0.9), "NaN"),
        (lambda: threshold_at_specificity([0, 1], [0.1, 0.2], 0.0), "share"),
        (lambda: decision_curve([0, 1], [0.1, 1.2], [0.5]), "0 … 1"),
        (lambda: decision_curve([0, 1], [0.1, 0.2], [1.0]), "between 0 and 1"),
    ],
)
def test_nonsense_is_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]


@pytest.mark.parametrize("seed", range(4))
def test_youdens_threshold_is_that_of_all_thresholds_tried(seed: int) -> None:
    draw = np.random.default_rng(seed)
    truth = draw.random(60) < 0.4
    scores = np.round(draw.random(60) * 0.7 + 0.3 * truth, 2)

    def index(threshold: float) -> float:
        called = scores >= threshold
        return float(called[truth].mean() + (~called[~truth]).mean() - 1)

    chosen = youden_threshold(truth, scores)
    assert index(chosen) == pytest.approx(max(index(threshold) for threshold in np.linspace(0, 1.2, 2401)))
    assert chosen not in scores or len(np.unique(scores)) == 1, "halfway between two scores"


def test_youdens_threshold_needs_both_kinds() -> None:
    with pytest.raises(ValueError, match="a positive and a negative"):
        youden_threshold([1, 1], [0.2, 0.3])
