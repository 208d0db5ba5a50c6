"""EMKD: importance maps and the affinity of regions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same
from torch import Tensor

from preceptor.losses.emkd import ImportanceMaps, RegionAffinity
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator

FEW = settings(max_examples=10, deadline=None)


def literal_importance(student: Tensor, teacher: Tensor) -> Tensor:
    total = student.new_zeros(())
    for ours, theirs in zip(student, teacher, strict=True):
        a, b = (sum(channel**4 for channel in side).flatten() / len(side) for side in (ours, theirs))
        total = total + (a / (a**2).sum().sqrt() - b / (b**2).sum().sqrt()).pow(2).sum()
    return total / len(student)


@FEW
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 3))
def test_importance_equals_the_formula(seed: int, batch: int) -> None:
    draw = generator(seed)
    student = torch.randn(batch, 3, 3, 4, generator=draw, dtype=torch.float64)
    teacher = torch.randn(batch, 5, 3, 4, generator=draw, dtype=torch.float64)
    loss = ImportanceMaps()
    assert_same(lambda x: loss([x], [teacher]), lambda x: literal_importance(x, teacher), student)


def test_importance_enlarges_the_student_bilinearly() -> None:
    """Half a place beyond the border the border's value holds; between two places a quarter and three quarters."""
    student = torch.tensor([1.0, 3.0], dtype=torch.float64).view(1, 1, 1, 2).expand(1, 1, 2, 2).contiguous()
    teacher = torch.randn(1, 2, 4, 4, generator=generator(1), dtype=torch.float64)
    enlarged = torch.tensor([1.0, 1.5, 2.5, 3.0], dtype=torch.float64).expand(1, 1, 4, 4)
    value = ImportanceMaps()([student, student], [teacher, teacher])  # and the points are summed
    torch.testing.assert_close(value, 2 * literal_importance(enlarged, teacher))


def test_importance_stands_activations_that_overflow_half_precision() -> None:
    student, teacher = 100 * torch.rand(2, 1, 3, 4, 4, generator=generator(2))
    wide = ImportanceMaps()([student.half().float()], [teacher.half().float()])
    assert wide.isfinite()
    assert ImportanceMaps()([student.half()], [teacher.half()]).item() == wide.item()


def literal_affinity(feature_map: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Cosines of an image's region means, by pair; ``labels`` (h, w) at the map's size."""
    means = []
    for label in range(classes):
        inside = feature_map[:, labels == label]
        count = inside.shape[1]
        means.append(inside.sum(1) / (max(count, 1) if label == 0 else count + 1))
    cosines = []
    for i in range(classes):
        for j in range(i + 1, classes):
            lengths = [means[k].square().sum().sqrt().clamp(min=1e-8) for k in (i, j)]
            cosines.append((means[i] * means[j]).sum() / (lengths[0] * lengths[1]))
    return torch.stack(cosines)


@FEW
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 3), classes=st.integers(2, 4))
def test_affinity_equals_the_formula(seed: int, batch: int, classes: int) -> None:
    draw = generator(seed)
    student = torch.randn(batch, 3, 3, 4, generator=draw, dtype=torch.float64)
    teacher = torch.randn(batch, 5, 3, 4, generator=draw, dtype=torch.float64)
    masks = torch.randint(classes, (batch, 6, 8), generator=draw)

    def literal(x: Tensor) -> Tensor:
        terms = [
            (literal_affinity(ours, labels, classes) - literal_affinity(theirs, labels, classes)).square().mean()
            for ours, theirs, labels in zip(x, teacher, masks[:, ::2, ::2], strict=True)
        ]
        return torch.stack(terms).mean()

    assert_same(lambda x: RegionAffinity(classes)([x], [teacher], masks), literal, student)


@pytest.mark.parametrize("label", [0, 1])
def test_an_image_of_one_region_adds_nothing_and_counts(label: int) -> None:
    student, teacher = torch.randn(2, 2, 4, 3, 3, generator=generator(3))
    masks = torch.randint(2, (2, 3, 3), generator=generator(4))
    alone = RegionAffinity(2)([student[:1]], [teacher[:1]], masks[:1])
    masks[1] = label
    student.requires_grad_()
    value = RegionAffinity(2)([student], [teacher], masks)
    value.backward()
    torch.testing.assert_close(value, alone / 2)
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_masks_meet_each_network_at_the_size_of_its_own_map() -> None:
    small, masks = torch.randn(2, 4, 2, 2, generator=generator(5)), torch.randint(2, (2, 2, 2), generator=generator(6))
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    loss = RegionAffinity(2)
    assert loss([small], [large], masks.repeat_interleave(4, 1).repeat_interleave(4, 2)).item() < 1e-10


def test_masks_of_one_class_are_refused() -> None:
    with pytest.raises(PreceptorError, match="masks of 1 class"):
        RegionAffinity(1)
