from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same
from torch import Tensor

from preceptor.losses.similarity import SimilarityPreserving
from preceptor.utils.randomness import generator


def literal_matrix(activations: Tensor) -> list[list[Tensor]]:
    gram = [[(a * b).sum() for b in activations] for a in activations]
    return [[entry / sum(other.square() for other in row).sqrt() for entry in row] for row in gram]  # type: ignore[union-attr]


def literal(student: Tensor, teacher: Tensor) -> Tensor:
    ours, theirs = literal_matrix(student), literal_matrix(teacher)
    batch = range(len(student))
    return sum((theirs[i][j] - ours[i][j]).square() for i in batch for j in batch) / len(student) ** 2  # type: ignore[return-value]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 6), rectified=st.booleans())
def test_equals_the_formula(seed: int, batch: int, rectified: bool) -> None:
    draw = generator(seed)
    student = torch.randn(batch, 4, 2, 2, generator=draw, dtype=torch.float64)
    teacher = torch.randn(batch, 3, 3, 3, generator=draw, dtype=torch.float64)
    if rectified:
        student, teacher = student.relu() + 0.01, teacher.relu() + 0.01
    loss = SimilarityPreserving()
    assert_same(lambda point: loss(point, teacher), lambda point: literal(point, teacher), student)


def test_gradient_agrees_with_finite_differences() -> None:
    student, teacher = torch.randn(2, 3, 5, generator=generator(1), dtype=torch.float64)
    loss = SimilarityPreserving()
    assert torch.autograd.gradcheck(lambda point: loss(point, teacher), student.requires_grad_())


def test_a_rotation_of_the_features_is_no_difference() -> None:
    student = torch.randn(6, 5, generator=generator(2))
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, generator=generator(3)))
    assert SimilarityPreserving()(3 * student @ rotation, student).item() == pytest.approx(0, abs=1e-9)


def test_an_image_without_activation_gives_a_finite_gradient() -> None:
    student = torch.randn(4, 5, generator=generator(4))
    student[1] = 0
    student.requires_grad_()
    SimilarityPreserving()(student, torch.randn(4, 5, generator=generator(5))).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_an_image_without_activations_has_no_slope() -> None:
    """Rows scaled to unit length have a slope of 10¹² at zero."""
    student, teacher = torch.randn(2, 4, 8, generator=generator(1))
    student[1] = 0
    student.requires_grad_()
    (slope,) = torch.autograd.grad(SimilarityPreserving()(student, teacher), student)
    assert slope.abs().max() < 10
