"""Numbers that change over epochs."""

from __future__ import annotations

import math

import pytest

from preceptor.recipe import Ramp, Steps
from preceptor.recipes.resolve import resolve
from preceptor.training.loss_schedules import weight_at

# --- weights -----


@pytest.mark.parametrize("start", [0, 4])
@pytest.mark.parametrize("to", [1.0, 2.5])
def test_a_gaussian_ramp_is_its_formula(to: float, start: int) -> None:
    ramp = Ramp(ramp="gaussian", epochs=30, to=to, start=start)
    for epoch in range(50):
        t = epoch - start
        expected = 0.0 if t < 0 else to * math.exp(-5 * (1 - t / 30) ** 2) if t < 30 else to
        assert weight_at(ramp, epoch) == pytest.approx(expected, rel=1e-12, abs=0), epoch


def test_a_linear_ramp_is_its_formula() -> None:
    ramp = Ramp(ramp="linear", epochs=4, to=2.0, start=1)
    assert [weight_at(ramp, epoch) for epoch in range(7)] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


def test_the_warm_up_of_dkd_is_that_of_its_released_code() -> None:
    """mdistiller: min(epoch / warmup, 1), in which the first epoch is number 1."""
    warm_up = resolve("dkd").objectives[-1].weight
    assert [weight_at(warm_up, epoch) for epoch in range(21)] == [min((epoch + 1) / 20, 1.0) for epoch in range(21)]


def test_steps_hold_from_their_epoch_on_in_any_order() -> None:
    steps = Steps(steps={30: 0.01, 0: 0.1, 40: 0.0})
    assert [weight_at(steps, epoch) for epoch in (0, 29, 30, 39, 40, 99)] == [0.1, 0.1, 0.01, 0.01, 0.0, 0.0]


def test_a_number_is_the_same_in_every_epoch() -> None:
    assert {weight_at(0.7, epoch) for epoch in range(5)} == {0.7}
