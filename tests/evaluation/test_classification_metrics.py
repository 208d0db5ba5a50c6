"""The metrics of classifiers, against scikit-learn, torchmetrics and values worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from torchmetrics.functional.classification import multiclass_calibration_error

from preceptor.evaluation.calibration import calibration_error
from preceptor.evaluation.classification import classification_metrics
from preceptor.evaluation.metrics import METRICS

CLASSES = ["akiec", "bcc", "bkl", "df"]


def _cases(count: int = 300, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(classes), draw.integers(0, classes, count - classes)])
    logits = draw.normal(size=(count, classes)) + 1.5 * np.eye(classes)[targets]
    scores = np.exp(logits)
    return targets, scores / scores.sum(axis=1, keepdims=True)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(8, 200))
def test_equal_to_scikit_learn(seed: int, count: int) -> None:
    targets, scores = _cases(count, seed=seed)
    figures = classification_metrics(targets, scores, CLASSES)
    predicted = scores.argmax(axis=1)
    assert figures["accuracy"] == pytest.approx(sk.accuracy_score(targets, predicted), abs=1e-6)
    assert figures["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(targets, predicted), abs=1e-6)
    assert figures["macro_precision"] == pytest.approx(
        sk.precision_score(targets, predicted, average="macro", zero_division=0), abs=1e-6
    )
    assert figures["macro_f1"] == pytest.approx(sk.f1_score(targets, predicted, average="macro"), abs=1e-6)
    assert figures["macro_auc"] == pytest.approx(sk.roc_auc_score(targets, scores, multi_class="ovr"), abs=1e-6)
    assert figures["macro_average_precision"] == pytest.approx(
        sk.average_precision_score(np.eye(4)[targets], scores, average="macro"), abs=1e-6
    )
    recalls = sk.recall_score(targets, predicted, average=None)
    assert list(figures["per_class_recall"].values()) == pytest.approx(list(recalls), abs=1e-6)
    assert list(figures["per_class_recall"]) == CLASSES
    assert figures["cases"] == count
    assert figures["absent_classes"] == []


def test_two_classes_are_one_against_the_rest_too() -> None:
    targets, scores = _cases(classes=2)
    figures = classification_metrics(targets, scores, ["benign", "malignant"])
    assert figures["macro_auc"] == pytest.approx(sk.roc_auc_score(targets, scores[:, 1]), abs=1e-12)


def test_calibration_error_equal_to_torchmetrics() -> None:
    targets, scores = _cases(500)
    theirs = multiclass_calibration_error(torch.tensor(scores), torch.tensor(targets), num_classes=4, n_bins=15)
    assert calibration_error(targets, scores) == pytest.approx(float(theirs), abs=1e-6)


def test_calibration_error_by_hand() -> None:
    # Confidence 0.9 twice (one right), 0.6 twice (both right): |0.5 - 0.9| / 2 + |1 - 0.6| / 2.
    scores = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.6, 0.4]])
    assert calibration_error([0, 0, 0, 0], scores) == pytest.approx(0.4)
    assert calibration_error([0, 0, 0, 0], scores, bins=1) == pytest.approx(0.0)


def test_calibration_intervals_are_closed_above() -> None:
    # 0.5 belongs to (0, 0.5], 0.75 to (0.5, 1]: were they one interval, the two gaps would cancel.
    assert calibration_error([0, 1], [[0.5, 0.5], [0.75, 0.25]], bins=2) == pytest.approx((0.5 + 0.75) / 2)


def test_certain_and_right_is_calibrated() -> None:
    assert calibration_error([0, 1, 2, 3], np.eye(4)) == 0.0


def test_absent_class_is_named_and_left_out_of_every_mean() -> None:
    targets, scores = _cases(200)
    kept = targets != 2
    targets, scores = targets[kept], scores[kept]
    figures = classification_metrics(targets, scores, CLASSES)
    predicted, present = scores.argmax(axis=1), [0, 1, 3]
    assert figures["absent_classes"] == ["bkl"]
    assert figures["per_class_recall"]["bkl"] is None
    assert figures["balanced_accuracy"] == pytest.approx(
        sk.recall_score(targets, predicted, labels=present, average="macro")
    )
    assert figures["macro_f1"] == pytest.approx(sk.f1_score(targets, predicted, labels=present, average="macro"))
    aucs = [sk.roc_auc_score(targets == index, scores[:, index]) for index in present]
    assert figures["macro_auc"] == pytest.approx(np.mean(aucs))


def test_one_class_alone_has_no_auc_and_is_still_json() -> None:
    figures = classification_metrics([1, 1], [[0.2, 0.8], [0.7, 0.3]], ["a", "b"])
    assert figures["macro_auc"] is None
    assert figures["balanced_accuracy"] == 0.5
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_class_never_predicted_counts_as_zero_precision() -> None:
    figures = classification_metrics([0, 1], [[0.9, 0.1], [0.8, 0.2]], ["a", "b"])
    assert figures["macro_precision"] == pytest.approx(0.25)


def test_half_precision_softmax_is_accepted() -> None:
    targets, scores = _cases(64)
    half = torch.tensor(scores).log().half().softmax(dim=1).numpy()
    assert classification_metrics(targets, half, CLASSES)["accuracy"] > 0.5


@pytest.mark.parametrize(
    ("targets", "scores", "message"),
    [
        ([0], [[np.nan, 1.0]], "NaN or infinite in 1 of 1 rows"),
        ([0], [[np.inf, 0.0]], "NaN or infinite"),
        ([0], [0.5, 0.5], r"expected \(N, 2\)"),
        ([0], [[0.2, 0.3, 0.5]], r"expected \(N, 2\)"),
        ([0, 1], [[0.5, 0.5]], "one for each row"),
        ([2], [[0.5, 0.5]], r"expected 0 … 1"),
        ([-1], [[0.5, 0.5]], r"expected 0 … 1"),
        ([0.5], [[0.5, 0.5]], "integers"),
        ([0], [[2.0, 3.0]], "no probabilities"),
        ([0], [[1.5, -0.5]], "no probabilities"),
        ([], np.empty((0, 2)), "no case"),
    ],
)
def test_what_is_refused(targets: list[float], scores: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classification_metrics(targets, scores, ["a", "b"])  # type: ignore[arg-type]


def test_calibration_needs_a_bin() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        calibration_error([0], [[1.0, 0.0]], bins=0)


def test_negative_log_likelihood_by_hand() -> None:
    """Mean of -log p of the true class, without class weights; a certain error is large and finite."""
    scores = np.array([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]])
    metric = METRICS["nll"]
    assert metric(np.array([0, 1, 1]), scores) == pytest.approx((np.log(2) - np.log(0.75) - np.log(0.1)) / 3)
    assert metric.better(-0.1)
    assert 80 < metric(np.array([0]), np.array([[0.0, 1.0]])) < 100
