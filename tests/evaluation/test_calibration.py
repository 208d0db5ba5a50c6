"""Temperature scaling against scipy's minimiser and by its definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from preceptor.evaluation.calibration import determined_temperature, fit_temperature, mean_nll, rescaled, softmax


def drawn(cases: int = 300, classes: int = 5, sharpness: float = 3.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and targets drawn from ``softmax(logits / sharpness)``."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(cases, classes)) * 4
    targets = [rng.choice(classes, p=row) for row in softmax(logits / sharpness)]
    return logits, np.array(targets)


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_temperature_minimises_the_likelihood_loss(sharpness: float) -> None:
    logits, targets = drawn(sharpness=sharpness)
    best = minimize_scalar(lambda t: mean_nll(logits, targets, np.exp(t)), bounds=(-3, 3), method="bounded")
    assert fit_temperature(logits, targets) == pytest.approx(np.exp(best.x), rel=1e-4)


def test_the_temperature_of_many_cases_is_the_one_they_were_drawn_with() -> None:
    logits, targets = drawn(cases=20_000, sharpness=2.5)
    assert fit_temperature(logits, targets) == pytest.approx(2.5, rel=0.05)


def test_logits_may_be_shifted_by_a_number_for_each_case() -> None:
    logits, targets = drawn()
    shifted = logits + np.random.default_rng(1).normal(size=(len(logits), 1))
    assert fit_temperature(shifted, targets) == pytest.approx(fit_temperature(logits, targets), rel=1e-9)


def test_the_range_ends_where_every_case_is_right() -> None:
    logits = np.eye(3)
    assert fit_temperature(logits, [0, 1, 2]) == pytest.approx(np.exp(-8.0), rel=1e-6)


def test_a_temperature_at_an_end_of_the_range_is_none() -> None:
    assert determined_temperature(np.eye(3), [0, 1, 2]) is None, "every case is right"
    assert determined_temperature(np.eye(2), [1, 0]) is None, "every case is wrong"
    logits, targets = drawn()
    assert determined_temperature(logits, targets) == fit_temperature(logits, targets)


def test_nll_is_the_mean_logarithm_of_the_own_class() -> None:
    logits, targets = drawn(cases=4)
    probabilities = np.exp(logits / 2) / np.exp(logits / 2).sum(1, keepdims=True)
    assert mean_nll(logits, targets, 2.0) == pytest.approx(-np.log(probabilities[np.arange(4), targets]).mean())


@pytest.mark.parametrize(
    ("logits", "targets"),
    [(np.zeros((2, 3)), [0]), (np.zeros((0, 3)), []), (np.zeros((1, 3)), [3]), ([[np.nan, 0.0]], [0])],
)
def test_wrong_input_is_refused(logits: np.ndarray, targets: list[int]) -> None:
    with pytest.raises(ValueError, match=r"logits|targets"):
        fit_temperature(logits, targets)


def test_rescaling_probabilities_is_scaling_logits() -> None:
    logits, _ = drawn()
    assert rescaled(softmax(logits), 2.5) == pytest.approx(softmax(logits / 2.5))
    assert rescaled([[1.0, 0.0]], 2.0) == pytest.approx(np.array([[1.0, 0.0]]))
