"""Metrics of a group of classes against scikit-learn's, and in resamplings that are written out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from preceptor.evaluation.detection import ranking_metrics, threshold_metrics
from preceptor.evaluation.ranking import resampled_risk_area
from preceptor.evaluation.resampling import Resampling, resample
from preceptor.evaluation.selective import risk_coverage

POSITIVE = [0, 2]


def drawn(seed: int = 0, cases: int = 90) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, 3, cases)
    scores = draw.dirichlet([0.7] * 3, size=cases) + 0.5 * np.eye(3)[targets]
    scores = np.round(scores / scores.sum(1, keepdims=True), 1)  # many ties
    return targets, scores, np.arange(cases) // 2


def mirrored_area(truth: np.ndarray, scores: np.ndarray, least_tpr: float) -> float:
    """Area above a sensitivity: scikit-learn's below a false positive rate, of the mirrored curve."""
    most = 1 - least_tpr
    scaled = roc_auc_score(~truth, -scores, max_fpr=most)  # McClish's scale, from (least area, most) to (1/2, 1)
    return float(scaled if most == 1 else most**2 / 2 + (2 * scaled - 1) * (most - most**2 / 2))


@pytest.mark.parametrize("seed", range(4))
def test_every_resampling_is_that_of_the_drawn_images(seed: int) -> None:
    targets, scores, groups = drawn(seed)
    resampling = Resampling(groups, samples=15)
    metrics = {**ranking_metrics(POSITIVE, 0.7), **threshold_metrics(POSITIVE, {"at 0.6": 0.6})}
    sampled = resample(metrics, [((targets, scores), groups)], resampling)
    truth, score = np.isin(targets, POSITIVE), scores[:, 0] + scores[:, 2]
    rows = [np.arange(len(groups))]
    rows += [np.repeat(np.arange(len(groups)), times[resampling.index(groups)]) for times in resampling.times]
    for place, row in enumerate(rows):
        true, values, called = truth[row], score[row], score[row] >= 0.6
        expected = {
            "auc": roc_auc_score(true, values),
            "partial_auc": mirrored_area(true, values, 0.7),
            "sensitivity at 0.6": recall_score(true, called),
            "specificity at 0.6": recall_score(~true, ~called),
        }
        for key, value in expected.items():
            result = sampled[key].value if place == 0 else sampled[key].samples[place - 1]
            assert result == pytest.approx(value, abs=1e-12), key


@pytest.mark.parametrize("least_tpr", [0.0, 0.5, 0.8, 0.95])
def test_partial_area_is_sklearns_of_the_mirrored_curve(least_tpr: float) -> None:
    targets, scores, _ = drawn(7)
    truth, score = np.isin(targets, POSITIVE), scores[:, 0] + scores[:, 2]
    area = mirrored_area(truth, score, least_tpr)
    assert ranking_metrics(POSITIVE, least_tpr)["partial_auc"](targets, scores) == pytest.approx(area, abs=1e-12)


def test_risk_area_is_that_of_the_drawn_images() -> None:
    targets, scores, groups = drawn()
    wrong, confidence = scores.argmax(1) != targets, scores.max(1)
    resampling = Resampling(groups, samples=15)
    group = resampling.index(groups)
    areas = resampled_risk_area(confidence, wrong, group, len(resampling.names))(resampling.times.astype(float))
    for times, area in zip(resampling.times, areas, strict=True):
        row = np.repeat(np.arange(len(group)), times[group])
        assert area == pytest.approx(risk_coverage(~wrong[row], confidence[row]).area)


def test_without_a_positive_there_is_no_value() -> None:
    targets, scores = np.array([1, 1]), np.full((2, 3), 1 / 3)
    metrics = {**ranking_metrics(POSITIVE), **threshold_metrics(POSITIVE, {"t": 0.5})}
    values = {key: metric(targets, scores) for key, metric in metrics.items()}
    assert values["auc"] is values["partial_auc"] is values["sensitivity t"] is None
    assert values["specificity t"] == 0
