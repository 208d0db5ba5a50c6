from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same_in_each, drawn, pooled
from torch import Tensor

from preceptor.losses.at import AttentionTransfer
from preceptor.utils.errors import PreceptorError


def literal(student: list[Tensor], teacher: list[Tensor], power: int) -> Tensor:
    total = student[0].new_zeros(())
    for s, t in zip(student, teacher, strict=True):
        size = min(s.shape[2], t.shape[2]), min(s.shape[3], t.shape[3])
        maps = [pooled(feature_map, *size) for feature_map in (s, t)]
        error = s.new_zeros(())
        for image in range(len(s)):
            attention = [sum(abs(channel) ** power for channel in m[image]) / m.shape[1] for m in maps]
            ours, theirs = (each / (each**2).sum().sqrt() for each in attention)  # type: ignore[operator, union-attr]
            error = error + ((ours - theirs) ** 2).sum()
        total = total + error / (len(s) * size[0] * size[1])
    return total


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 3), power=st.sampled_from([2, 4]))
def test_equals_the_formula(seed: int, batch: int, power: int) -> None:
    student = [drawn(seed, batch, 3, 4, 5), drawn(seed + 1, batch, 2, 2, 2)]
    teacher = [drawn(seed + 2, batch, 4, 7, 5), drawn(seed + 3, batch, 5, 3, 3)]
    loss = AttentionTransfer(power)
    assert_same_in_each(loss, lambda s, t: literal(s, t, power), student, teacher)


def test_the_mean_of_squares_is_over_the_batch_and_places() -> None:
    ours, theirs = torch.zeros(2, 1, 1, 2), torch.zeros(2, 1, 1, 2)
    ours[:, 0, 0, 0] = 1
    theirs[:, 0, 0, 1] = 1
    assert AttentionTransfer()([ours], [theirs]).item() == 1.0  # (1 + 1) / 2 places


def test_a_map_without_activation_gives_a_finite_gradient() -> None:
    student = torch.zeros(2, 3, 2, 2, requires_grad=True)
    AttentionTransfer()([student], [torch.ones(2, 3, 2, 2)]).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_large_half_precision_activations_do_not_overflow() -> None:
    student = torch.full((1, 2, 2, 2), 1000.0, dtype=torch.float16)
    assert AttentionTransfer()([student], [torch.ones(1, 2, 2, 2)]).item() == pytest.approx(0)


def test_unlike_lists_and_tokens_are_refused() -> None:
    maps = torch.zeros(2, 3, 2, 2)
    with pytest.raises(PreceptorError, match="2 feature points of the student, 1 of the teacher"):
        AttentionTransfer()([maps, maps], [maps])
    with pytest.raises(PreceptorError, match=r"student\[0\] has the shape"):
        AttentionTransfer()([torch.zeros(2, 5, 3)], [maps])
    with pytest.raises(PreceptorError, match="list of tensors"):
        AttentionTransfer()(maps, [maps])  # type: ignore[arg-type]
    with pytest.raises(PreceptorError, match="power"):
        AttentionTransfer(0)
