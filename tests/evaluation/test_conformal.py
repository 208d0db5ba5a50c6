"""Conformal sets against MAPIE's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from preceptor.evaluation.conformal import conformal_thresholds, prediction_sets

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
