from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same
from torch import Tensor

from preceptor.losses.kl import KLDivergence
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator


def literal(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    total = student.new_zeros(())
    for s, t in zip(student, teacher, strict=True):
        p_s = (s / temperature).exp() / (s / temperature).exp().sum()
        p_t = (t / temperature).exp() / (t / temperature).exp().sum()
        for index in range(len(s)):
            total = total + p_t[index] * (p_t[index] / p_s[index]).log()
    return temperature**2 * total / len(student)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 9),
    classes=st.integers(2, 8),
    temperature=st.floats(0.5, 20),
)
def test_equals_the_formula(seed: int, batch: int, classes: int, temperature: float) -> None:
    student, teacher = 3 * torch.randn(2, batch, classes, generator=generator(seed), dtype=torch.float64)
    loss = KLDivergence(temperature)
    assert_same(lambda x: loss(x, teacher), lambda x: literal(x, teacher, temperature), student)


def test_gradient_agrees_with_finite_differences() -> None:
    student, teacher = torch.randn(2, 3, 4, generator=generator(1), dtype=torch.float64)
    loss = KLDivergence(2.5)
    assert torch.autograd.gradcheck(lambda x: loss(x, teacher), student.requires_grad_())


def test_direction_is_teacher_relative_to_student() -> None:
    student = torch.tensor([[log(0.25), log(0.75)]])
    teacher = torch.tensor([[0.0, 0.0]])
    assert KLDivergence()(student, teacher).item() == pytest.approx(0.5 * log(2) + 0.5 * log(2 / 3), rel=1e-5)


def test_is_zero_only_where_the_networks_agree() -> None:
    logits = torch.randn(4, 6, generator=generator(2))
    assert KLDivergence(3.0)(logits + 5, logits).item() == pytest.approx(0, abs=1e-5)
    assert KLDivergence(3.0)(logits.flip(1), logits).item() > 0.01


def test_a_certain_teacher_is_no_nan() -> None:
    student = torch.tensor([[0.0, 1.0]], requires_grad=True)
    value = KLDivergence()(student, torch.tensor([[1e4, -1e4]]))
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(PreceptorError, match="temperature"):
        KLDivergence(temperature)
