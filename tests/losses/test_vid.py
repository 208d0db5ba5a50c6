from __future__ import annotations

from collections.abc import Iterable
from math import exp, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same, assert_same_in_each, convolved, drawn, pooled
from torch import Tensor, nn

from preceptor.losses.vid import VariationalInformation
from preceptor.utils.errors import PreceptorError


def literal(
    means: Iterable[nn.Module], scales: Iterable[Tensor], student: list[Tensor], teacher: list[Tensor]
) -> Tensor:
    total = student[0].new_zeros(())
    for s, t, mean, rho in zip(student, teacher, means, scales, strict=True):
        side = min(s.shape[2], t.shape[2])
        s, t = pooled(s, side, side), pooled(t, side, side)
        assert isinstance(mean, nn.Sequential)
        for layer in mean:
            s = convolved(s, layer) if isinstance(layer, nn.Conv2d) else s.clamp(min=0)
        entries = []
        for channel in range(t.shape[1]):
            variance = (1 + rho[channel].exp()).log() + 1e-5
            entries.append(((t[:, channel] - s[:, channel]) ** 2 / variance + variance.log()) / 2)
        total = total + torch.stack(entries).mean()
    return total


def build(seed: int) -> tuple[VariationalInformation, list[Tensor], list[Tensor]]:
    torch.manual_seed(seed)
    loss = VariationalInformation((2, 3), (4, 2)).double()
    student = [drawn(seed, 2, 2, 4, 4), drawn(seed + 1, 2, 3, 2, 2)]
    return loss, student, [drawn(seed + 2, 2, 4, 2, 2), drawn(seed + 3, 2, 2, 3, 3)]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_equals_the_formula(seed: int) -> None:
    loss, student, teacher = build(seed)
    assert_same_in_each(loss, lambda s, t: literal(loss.means, loss.scales, s, t), student, teacher)


def test_the_variance_is_learned_by_the_formula_too() -> None:
    loss, student, teacher = build(1)
    scales = list(loss.scales)

    def fast(scale: Tensor) -> Tensor:
        return torch.func.functional_call(loss, {"scales.0": scale}, (student, teacher))

    assert_same(fast, lambda scale: literal(loss.means, [scale, scales[1]], student, teacher), drawn(4, 4))


def test_starts_at_a_variance_of_five() -> None:
    loss = VariationalInformation((2,), (3,))
    assert loss.scales[0].tolist() == pytest.approx([log(exp(5 - 1e-5) - 1)] * 3)
    assert loss.scales[0][0].item() == pytest.approx(4.99323, abs=1e-5)


def test_gradient_reaches_means_and_variances() -> None:
    loss, student, teacher = build(2)
    loss(student, teacher).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in loss.parameters())


def test_a_large_scale_does_not_overflow() -> None:
    loss, student, teacher = build(3)
    with torch.no_grad():
        loss.scales[0].fill_(2000.0)
    assert loss(student, teacher).isfinite()


def test_other_points_than_it_was_built_for_are_refused() -> None:
    loss, student, teacher = build(4)
    with pytest.raises(PreceptorError, match=r"student lists feature points of \[3, 2\] channels"):
        loss(student[::-1], teacher)
    with pytest.raises(PreceptorError, match="2 feature points of the student, 1 of the teacher"):
        VariationalInformation((2, 3), (4,))
    with pytest.raises(PreceptorError, match="variance"):
        VariationalInformation((2,), (4,), variance=0)
