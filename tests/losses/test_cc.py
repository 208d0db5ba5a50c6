from __future__ import annotations

from math import exp

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same, drawn
from torch import Tensor

from preceptor.losses.cc import CorrelationCongruence, Variant
from preceptor.utils.errors import PreceptorError


def literal(loss: CorrelationCongruence, student: Tensor, teacher: Tensor, variant: str, normalise: bool) -> Tensor:
    ours = [loss.student_head.weight @ row + loss.student_head.bias for row in student]
    theirs = [loss.teacher_weight @ row + loss.teacher_bias for row in teacher]
    batch = len(student)
    if variant == "neighbours":
        apart = [(a - b).abs() for a, b in zip(ours, theirs, strict=True)]
        return torch.stack([(apart[i] * apart[i + 1]).sum() for i in range(batch - 1)]).mean()
    if normalise:
        ours, theirs = ([row / (row**2).sum().sqrt() for row in rows] for rows in (ours, theirs))

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        product = (a * b).sum()
        return product if variant == "bilinear" else exp(-0.8) * (1 + 0.8 * product + 0.8**2 / 2 * product**2)

    squares = [
        (kernel(ours[i], ours[j]) - kernel(theirs[i], theirs[j])) ** 2 for i in range(batch) for j in range(batch)
    ]
    return torch.stack(squares).sum().sqrt() / batch**2


@pytest.mark.parametrize(
    ("variant", "normalise"), [("gaussian", True), ("gaussian", False), ("bilinear", False), ("neighbours", False)]
)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(2, 5))
def test_equals_the_formula(variant: Variant, normalise: bool, seed: int, batch: int) -> None:
    torch.manual_seed(seed)
    loss = CorrelationCongruence(4, 6, size=3, variant=variant, normalise=normalise).double()
    student, teacher = drawn(seed, batch, 4), drawn(seed + 1, batch, 6)
    assert_same(lambda x: loss(x, teacher), lambda x: literal(loss, x, teacher, variant, normalise), student)


def test_the_teachers_head_does_not_learn() -> None:
    assert {name for name, _ in CorrelationCongruence(4, 6).named_parameters()} == {
        "student_head.weight",
        "student_head.bias",
    }


def test_one_image_has_no_neighbour() -> None:
    assert CorrelationCongruence(4, 6, variant="neighbours")(torch.rand(1, 4), torch.rand(1, 6)).item() == 0


def test_gradient_is_finite_where_the_kernels_agree() -> None:
    student = torch.rand(1, 4, requires_grad=True)  # of one unit row the kernel is a constant
    CorrelationCongruence(4, 6)(student, torch.rand(1, 6)).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_settings_are_checked() -> None:
    with pytest.raises(PreceptorError, match="gaussian, bilinear, neighbours"):
        CorrelationCongruence(4, 6, variant="rbf")  # type: ignore[arg-type]
    with pytest.raises(PreceptorError, match="gamma"):
        CorrelationCongruence(4, 6, gamma=-1)
