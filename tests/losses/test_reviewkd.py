from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same, assert_same_in_each, convolved, drawn, normalised, pooled
from torch import Tensor

from preceptor.losses.review_fusion import pyramid_error
from preceptor.losses.reviewkd import ReviewKD
from preceptor.utils.errors import PreceptorError


def nearest(feature_map: Tensor, height: int, width: int) -> Tensor:
    rows = [y * feature_map.shape[2] // height for y in range(height)]
    columns = [x * feature_map.shape[3] // width for x in range(width)]
    return feature_map[:, :, rows][:, :, :, columns]


def literal_error(student: Tensor, teacher: Tensor) -> Tensor:
    total, weight, weights = ((student - teacher) ** 2).mean(), 1.0, 1.0
    for side in (4, 2, 1):
        if side < student.shape[2]:
            weight /= 2
            weights += weight
            total = total + weight * ((pooled(student, side, side) - pooled(teacher, side, side)) ** 2).mean()
    return total / weights


def literal(loss: ReviewKD, student: list[Tensor], teacher: list[Tensor], own: Tensor, other: Tensor) -> Tensor:
    maps = [own[:, :, None, None], *student[::-1]]
    targets = [other[:, :, None, None], *teacher[::-1]]
    total, passed = own.new_zeros(()), None
    for level, x, target in zip(loss.levels, maps, targets, strict=True):
        fusion: Any = level
        x = normalised(convolved(x, fusion.enter[0]), fusion.enter[1])
        if passed is not None:
            y = nearest(passed, *x.shape[2:])
            weights = 1 / (1 + (-convolved(torch.cat([x, y], 1), fusion.weights[0])).exp())
            x = weights[:, :1] * x + weights[:, 1:] * y
        passed = nearest(x, *target.shape[2:])
        total = total + literal_error(normalised(convolved(passed, fusion.leave[0]), fusion.leave[1]), target)
    return total


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6), side=st.sampled_from([4, 6]))
def test_equals_the_formula(seed: int, side: int) -> None:
    torch.manual_seed(seed)
    loss = ReviewKD((2, 3), (4, 5), 3, 5, middle_channels=3).double()
    student = [drawn(seed, 3, 2, 2 * side, 2 * side), drawn(seed + 1, 3, 3, side, side)]
    teacher = [drawn(seed + 2, 3, 4, 2 * side, 2 * side), drawn(seed + 3, 3, 5, 3, 3)]
    own, other = drawn(seed + 4, 3, 3), drawn(seed + 5, 3, 5)
    assert_same_in_each(loss, lambda s, t, *rest: literal(loss, s, t, *rest), student, teacher, own, other)
    assert_same(lambda x: loss(student, teacher, x, other), lambda x: literal(loss, student, teacher, x, other), own)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 8])
def test_the_pyramid_equals_the_formula(side: int) -> None:
    student, teacher = drawn(1, 2, 3, side, side), drawn(2, 2, 3, side, side)
    assert_same(lambda x: pyramid_error(x, teacher), lambda x: literal_error(x, teacher), student)


def test_pooled_sizes_that_are_left_out_do_not_halve_the_weights() -> None:
    student, teacher = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, -1.0], [1.0, -1.0]]]])
    assert pyramid_error(student, teacher).item() == pytest.approx(1 / 1.5)  # only 1×1 is smaller: weights 1 and ½


def test_a_last_batch_of_one_image_is_no_fault() -> None:
    loss = ReviewKD((2,), (4,), 3, 5, middle_channels=3)
    assert loss([torch.rand(1, 2, 4, 4)], [torch.rand(1, 4, 4, 4)], torch.rand(1, 3), torch.rand(1, 5)).isfinite()


def test_parameters_are_as_many_as_published() -> None:
    student, teacher = (64, 128, 256, 512), (256, 512, 1024, 2048)
    with torch.device("meta"):
        loss = ReviewKD(student, teacher, 512, 2048)
    assert 27e6 < sum(parameter.numel() for parameter in loss.parameters()) < 29e6


def test_unlike_lists_are_refused() -> None:
    with pytest.raises(PreceptorError, match="2 feature points of the student, 1 of the teacher"):
        ReviewKD((2, 3), (4,), 3, 5)
