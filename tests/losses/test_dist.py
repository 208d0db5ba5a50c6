from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same, drawn, probabilities
from torch import Tensor

from preceptor.losses.dist import RelationMatching


def correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = a - a.sum() / len(a), b - b.sum() / len(b)
    return (a * b).sum() / ((a**2).sum().sqrt() * (b**2).sum().sqrt() + 1e-8)


def literal(student: Tensor, teacher: Tensor, beta: float, gamma: float, temperature: float) -> Tensor:
    p_s, p_t = probabilities(student, temperature), probabilities(teacher, temperature)
    inter = torch.stack([correlation(a, b) for a, b in zip(p_s, p_t, strict=True)])
    intra = torch.stack([correlation(p_s[:, c], p_t[:, c]) for c in range(p_s.shape[1])])
    return temperature**2 * (beta * (1 - inter.mean()) + gamma * (1 - intra.mean()))


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(2, 6),
    classes=st.integers(3, 6),
    temperature=st.sampled_from([1.0, 4.0]),
)
def test_equals_the_formula(seed: int, batch: int, classes: int, temperature: float) -> None:
    student, teacher = 2 * drawn(seed, batch, classes), 2 * drawn(seed + 1, batch, classes)
    loss = RelationMatching(1.5, 0.5, temperature)
    assert_same(lambda x: loss(x, teacher), lambda x: literal(x, teacher, 1.5, 0.5, temperature), student)


def test_every_pixel_is_an_image() -> None:
    student, teacher = drawn(1, 2, 3, 2, 2), drawn(2, 2, 3, 2, 2)
    flat = [logits.movedim(1, -1).reshape(-1, 3) for logits in (student, teacher)]
    torch.testing.assert_close(RelationMatching()(student, teacher), RelationMatching()(*flat))


def test_a_single_image_has_no_relation_within_classes() -> None:
    student = torch.randn(1, 4, requires_grad=True)
    value = RelationMatching(beta=0.0)(student, torch.randn(1, 4))
    value.backward()
    assert value.item() == pytest.approx(1)
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_two_classes_are_warned_of_unless_the_part_within_images_is_off() -> None:
    student, teacher = drawn(1, 5, 2), drawn(2, 5, 2)
    with pytest.warns(UserWarning, match="set beta=0"):
        RelationMatching()(student, teacher)
    value = RelationMatching(beta=0.0)(student, teacher)  # then the correlation of the foreground's probability
    foreground = [probabilities(logits)[:, 1] for logits in (student, teacher)]
    assert value.item() == pytest.approx(1 - correlation(*foreground).item(), abs=1e-6)


def test_a_network_that_starts_from_equal_logits_is_not_thrown_off() -> None:
    """As one whose classifier starts from zero: what rounding leaves of the constant rows had a slope of 10⁷."""
    features, teacher = drawn(1, 32, 16).float(), 3 * drawn(2, 32, 7).float()
    classifier = torch.zeros(7, 16, requires_grad=True)
    (slope,) = torch.autograd.grad(RelationMatching()(features @ classifier.T, teacher), classifier)
    assert slope.norm() < 10
    moved = (0.01 * drawn(3, 7, 16).float()).requires_grad_()
    (slope,) = torch.autograd.grad(RelationMatching()(features @ moved.T, teacher), moved)
    assert slope.norm() > 0.1
