from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same, drawn, probabilities
from torch import Tensor

from preceptor.losses.src_mt import SampleRelation
from preceptor.utils.errors import PreceptorError

COUNTS = torch.tensor([7000, 900, 300])


def relations(embeddings: Tensor) -> list[list[Tensor]]:
    gram = [[(a * b).sum() for b in embeddings] for a in embeddings]
    return [[entry / torch.stack(row).square().sum().sqrt() for entry in row] for row in gram]


def consistency(student: Tensor, teacher: Tensor, weighted: bool) -> Tensor:
    apart = (probabilities(student) - probabilities(teacher)) ** 2
    weights = [1e4 / count if weighted else 1.0 for count in COUNTS.tolist()]
    return sum(weight * apart[:, index].sum() for index, weight in enumerate(weights)) / len(student)  # type: ignore[return-value]


def relation(student: Tensor, teacher: Tensor) -> Tensor:
    ours, theirs = relations(student), relations(teacher)
    batch = range(len(student))
    return sum((ours[i][j] - theirs[i][j]) ** 2 for i in batch for j in batch) / len(student)  # type: ignore[return-value]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 4), weighted=st.booleans())
def test_equals_the_formula(seed: int, batch: int, weighted: bool) -> None:
    loss = SampleRelation(COUNTS, 2.0, 0.5, "inverse_frequency" if weighted else "none").double()
    student_logits, teacher_logits = drawn(seed, batch, 3), drawn(seed + 1, batch, 3)
    student, teacher = drawn(seed + 2, batch, 5), drawn(seed + 3, batch, 5)
    fixed = relation(student, teacher)
    assert_same(
        lambda x: loss(x, teacher_logits, student, teacher),
        lambda x: 2 * consistency(x, teacher_logits, weighted) + 0.5 * fixed,
        student_logits,
    )
    fixed = consistency(student_logits, teacher_logits, weighted)
    assert_same(
        lambda x: loss(student_logits, teacher_logits, x, teacher),
        lambda x: 2 * fixed + 0.5 * relation(x, teacher),
        student,
    )


def test_an_embedding_of_zeros_gives_a_finite_gradient() -> None:
    student, logits = torch.zeros(2, 4, requires_grad=True), torch.zeros(2, 3)
    SampleRelation(COUNTS)(logits, logits, student, torch.rand(2, 4)).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_classes_without_images_are_refused() -> None:
    with pytest.raises(PreceptorError, match="without training images have no weight: 1"):
        SampleRelation(torch.tensor([3, 0]))
    SampleRelation(torch.tensor([3, 0]), class_weights="none")
    with pytest.raises(PreceptorError, match="src_mt: logits of 2 classes"):
        SampleRelation(COUNTS)(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 4), torch.zeros(1, 4))
