"""Conformal sets against MAPIE's."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from preceptor.evaluation.conformal import (
    adaptive_sets,
    adaptive_threshold,
    conformal_thresholds,
    prediction_sets,
    set_quality,
)

mapie = pytest.importorskip("mapie.classification")


class Probabilities(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose inputs are its probabilities."""

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Probabilities:
        self.classes_, self.n_features_in_ = np.unique(targets), inputs.shape[1]
        return self

    def predict_proba(self, inputs: np.ndarray) -> np.ndarray:
        return inputs

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return inputs.argmax(axis=1)


def drawn(cases: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(4), draw.integers(0, 4, cases - 4)])
    logits = draw.normal(size=(cases, 4)) + 1.5 * np.eye(4)[targets]
    return targets, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("error", [0.05, 0.1, 0.3])
def test_sets_are_mapies(error: float) -> None:
    targets, probabilities = drawn(200, 0)
    _, others = drawn(300, 1)
    reference = mapie.SplitConformalClassifier(
        Probabilities().fit(probabilities, targets), confidence_level=1 - error, conformity_score="lac", prefit=True
    ).conformalize(probabilities, targets)
    sets = prediction_sets(others, conformal_thresholds(targets, probabilities, error))
    assert (sets == reference.predict_set(others)[1][:, :, 0]).all()


@pytest.mark.parametrize("error", [0.05, 0.1, 0.3])
def test_adaptive_sets_are_mapies_without_its_random_numbers(error: float, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = SimpleNamespace(uniform=lambda size: np.zeros(size))
    monkeypatch.setattr("mapie.conformity_scores.sets.aps.check_random_state", lambda state: zeros)
    targets, probabilities = drawn(200, 0)
    _, others = drawn(300, 1)
    reference = mapie.SplitConformalClassifier(
        Probabilities().fit(probabilities, targets), confidence_level=1 - error, conformity_score="aps", prefit=True
    ).conformalize(probabilities, targets)
    theirs = reference.predict_set(others, conformity_score_params={"include_last_label": False})[1][:, :, 0]
    theirs |= np.eye(4, dtype=bool)[others.argmax(axis=1)]  # MAPIE leaves some sets empty
    assert (adaptive_sets(others, adaptive_threshold(targets, probabilities, error)) == theirs).all()


@pytest.mark.parametrize("error", [0.1, 0.3])
def test_adaptive_sets_are_those_of_the_paper_by_loops(error: float) -> None:
    """Romano et al. without randomisation: classes are added in order of probability while the score allows it."""
    (targets, probabilities), (fresh, others) = drawn(90, 2), drawn(80, 3)
    scores = sorted(
        float(sum(value for value in row if value >= row[target]))
        for row, target in zip(probabilities, targets, strict=True)
    )
    threshold = scores[int(np.ceil(91 * (1 - error))) - 1]
    assert adaptive_threshold(targets, probabilities, error) == pytest.approx(threshold)
    sets = adaptive_sets(others, threshold)
    for row, held in zip(others, sets, strict=True):
        ranked = sorted(range(4), key=lambda index: -row[index])
        most = max([1] + [count for count in range(1, 5) if sum(row[ranked[:count]]) <= threshold + 1e-12])
        assert set(np.flatnonzero(held)) == set(ranked[:most])
    assert sets.any(axis=1).all(), "no set is empty"
    assert set_quality(fresh, sets).coverage >= 1 - error - 0.05


def test_too_few_images_put_every_class_into_adaptive_sets() -> None:
    assert adaptive_threshold([0], [[0.9, 0.1]], 0.1) == np.inf
    assert adaptive_sets([[0.9, 0.1]], np.inf).all()


def test_adaptive_sets_of_hard_images_are_larger() -> None:
    targets, probabilities = drawn(4000, 4)
    sizes = adaptive_sets(probabilities, adaptive_threshold(targets, probabilities, 0.1)).sum(axis=1)
    sure = probabilities.max(axis=1) > np.median(probabilities.max(axis=1))
    assert sizes[sure].mean() + 0.5 < sizes[~sure].mean()


@pytest.mark.parametrize("error", [0.05, 0.1, 0.3])
def test_adaptive_sets_cover_as_often_as_stated(error: float) -> None:
    (targets, probabilities), (fresh, others) = drawn(20_000, 5), drawn(20_000, 6)
    sets = adaptive_sets(others, adaptive_threshold(targets, probabilities, error))
    assert 1 - error - 0.01 < set_quality(fresh, sets).coverage < 1 - error / 2
