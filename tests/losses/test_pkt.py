from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same, drawn
from torch import Tensor

from preceptor.losses.pkt import ProbabilisticTransfer


def neighbours(embeddings: Tensor) -> list[list[Tensor]]:
    rows = [row / ((row**2).sum().sqrt() + 1e-7) for row in embeddings]
    likeness = [[((a * b).sum() + 1) / 2 for b in rows] for a in rows]
    return [[entry / sum(row) for entry in row] for row in likeness]


def literal(student: Tensor, teacher: Tensor) -> Tensor:
    ours, theirs = neighbours(student), neighbours(teacher)
    batch = range(len(student))
    terms = [theirs[i][j] * ((theirs[i][j] + 1e-7) / (ours[i][j] + 1e-7)).log() for i in batch for j in batch]
    return torch.stack(terms).mean()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(2, 6))
def test_equals_the_formula(seed: int, batch: int) -> None:
    student, teacher = drawn(seed, batch, 4), drawn(seed + 1, batch, 7)
    assert_same(lambda x: ProbabilisticTransfer()(x, teacher), lambda x: literal(x, teacher), student)


def test_one_image_has_no_neighbours() -> None:
    assert ProbabilisticTransfer()(torch.rand(1, 4), torch.rand(1, 5)).item() == 0


def test_an_embedding_of_zeros_gives_a_finite_gradient() -> None:
    student = torch.zeros(3, 4, requires_grad=True)
    ProbabilisticTransfer()(student, torch.rand(3, 4)).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
