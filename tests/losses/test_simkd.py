from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same, convolved, drawn, normalised, pooled
from torch import Tensor, nn

from preceptor.losses.simkd import SimKD
from preceptor.utils.errors import PreceptorError


def literal(loss: SimKD, student: Tensor, teacher: Tensor) -> Tensor:
    side = min(student.shape[2], teacher.shape[2])
    student, teacher = pooled(student, side, side), pooled(teacher, side, side)
    for layer in loss.projector:
        if isinstance(layer, nn.Conv2d):
            student = convolved(student, layer)
        elif isinstance(layer, nn.BatchNorm2d):
            student = normalised(student, layer)
        else:
            student = student.clamp(min=0)
    return ((student - teacher) ** 2).sum() / teacher.numel()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), sides=st.sampled_from([(4, 2), (3, 3), (2, 5)]))
def test_equals_the_formula(seed: int, sides: tuple[int, int]) -> None:
    torch.manual_seed(seed)
    loss = SimKD(3, 6).double()
    student, teacher = drawn(seed, 2, 3, sides[0], sides[0]), drawn(seed + 1, 2, 6, sides[1], sides[1])
    assert_same(lambda x: loss(x, teacher), lambda x: literal(loss, x, teacher), student)


def test_the_projector_is_as_large_as_published() -> None:
    parameters = sum(parameter.numel() for parameter in SimKD(512, 2048).projector.parameters())
    assert parameters == 512 * 1024 + 9 * 1024**2 + 1024 * 2048 + 2 * (1024 + 1024 + 2048)  # 12.1 million
    cheap = sum(parameter.numel() for parameter in SimKD(512, 2048, depthwise=True).projector.parameters())
    assert cheap == parameters - 9 * 1024 * 1023


def test_one_pooled_image_gives_a_finite_value() -> None:
    assert SimKD(3, 6)(torch.rand(1, 3, 1, 1), torch.rand(1, 6, 1, 1)).isfinite()


def test_a_reduction_without_channels_left_is_refused() -> None:
    with pytest.raises(PreceptorError, match="at most 6"):
        SimKD(3, 6, reduction=7)
