from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same_in_each, convolved, drawn, pooled
from torch import Tensor, nn

from preceptor.losses.fsp import SolutionFlow
from preceptor.utils.errors import PreceptorError


def matrix(first: Tensor, second: Tensor) -> Tensor:
    """(B, K₁, K₂): mean over places of the product of two channels."""
    height, width = min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3])
    first, second = pooled(first, height, width), pooled(second, height, width)
    return (first[:, :, None] * second[:, None]).sum((3, 4)) / (height * width)


def literal(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    total = student[0].new_zeros(())
    for index in range(len(student) - 1):
        ours, theirs = matrix(*student[index : index + 2]), matrix(*teacher[index : index + 2])
        total = total + ((ours - theirs) ** 2).sum() / ours.numel()
    return total


def build(seed: int, places: int = 3) -> tuple[list[Tensor], list[Tensor]]:
    """Points of few channels, then of so many that the factor form is taken."""
    sizes = [(2, 2 * places), (3, 2 * places), (40, 2), (44, 2)]
    student, teacher = (
        [drawn(seed + index + 10 * side, 2, k, n, n) for index, (k, n) in enumerate(sizes)] for side in range(2)
    )
    return student, teacher


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_equals_the_formula(seed: int) -> None:
    student, teacher = build(seed)
    assert_same_in_each(SolutionFlow((2, 3, 40, 44), (2, 3, 40, 44)), literal, student, teacher)


def test_equals_the_formula_where_the_networks_have_other_places() -> None:
    student, teacher = build(1)[0], build(2, places=2)[1]
    assert_same_in_each(SolutionFlow((2, 3, 40, 44), (2, 3, 40, 44)), literal, student, teacher)


def test_adapters_take_channels_to_the_teachers() -> None:
    torch.manual_seed(0)
    loss = SolutionFlow((2, 3), (4, 3), adapters=True).double()
    student, teacher = [drawn(1, 2, 2, 4, 4), drawn(2, 2, 3, 2, 2)], [drawn(3, 2, 4, 4, 4), drawn(4, 2, 3, 2, 2)]
    adapter = loss.adapters[0]
    assert isinstance(adapter, nn.Conv2d)
    assert_same_in_each(loss, lambda s, t: literal([convolved(s[0], adapter), s[1]], t), student, teacher)


def test_the_factor_form_does_not_cancel_near_the_teacher() -> None:
    teacher = [torch.randn(2, 64, 2, 2, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    student = [point + 1e-4 * drawn(3 + index, 2, 64, 2, 2).float() for index, point in enumerate(teacher)]
    value = SolutionFlow((64, 64), (64, 64))(student, teacher).item()
    exact = literal([point.double() for point in student], [point.double() for point in teacher]).item()
    assert value == pytest.approx(exact, rel=1e-3)


def test_unequal_channels_are_refused() -> None:
    with pytest.raises(PreceptorError, match=r"\[2, 3\] channels, the teacher's \[4, 3\]"):
        SolutionFlow((2, 3), (4, 3))
    with pytest.raises(PreceptorError, match="at least two"):
        SolutionFlow((2,), (2,))
