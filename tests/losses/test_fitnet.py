from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same
from torch import Tensor

from preceptor.losses.fitnet import EmbeddingFit, FitNet
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 4), channels=st.integers(1, 4), teacher=st.integers(1, 5))
def test_maps_equal_the_formula(seed: int, batch: int, channels: int, teacher: int) -> None:
    draw = generator(seed)
    ours = torch.randn(batch, channels, 2, 3, generator=draw, dtype=torch.float64)
    theirs = torch.randn(batch, teacher, 2, 3, generator=draw, dtype=torch.float64)
    loss = FitNet(channels, teacher).double()

    def literal(point: Tensor) -> Tensor:
        matrix, offset = loss.regressor.weight.flatten(1), loss.regressor.bias
        assert offset is not None
        total = point.new_zeros(())
        for image in range(batch):
            for y in range(2):
                for x in range(3):
                    taken = matrix @ point[image, :, y, x] + offset
                    total = total + (taken - theirs[image, :, y, x]).square().sum()
        return total / theirs.numel()

    assert_same(lambda point: loss(point, theirs), literal, ours)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 5), size=st.integers(1, 7))
def test_embeddings_equal_the_formula(seed: int, batch: int, size: int) -> None:
    ours, theirs = torch.randn(2, batch, size, generator=generator(seed), dtype=torch.float64)

    def literal(point: Tensor) -> Tensor:
        pairs = zip(point.flatten(), theirs.flatten(), strict=True)
        return sum((a - b) ** 2 for a, b in pairs) / batch  # type: ignore[return-value]

    assert_same(lambda point: EmbeddingFit(size, size)(point, theirs), literal, ours)


def test_gradient_reaches_the_regressor() -> None:
    loss = FitNet(2, 3).double()
    ours = torch.randn(2, 2, 2, 2, generator=generator(0), dtype=torch.float64)
    theirs = torch.randn(2, 3, 2, 2, generator=generator(1), dtype=torch.float64)
    weight = loss.regressor.weight

    def value(matrix: Tensor) -> Tensor:
        return torch.func.functional_call(loss, {"regressor.weight": matrix}, (ours, theirs))

    assert torch.autograd.gradcheck(value, weight.detach().clone().requires_grad_())


def test_maps_of_different_size_are_refused() -> None:
    with pytest.raises(PreceptorError, match="3×3, the teacher's 7×7"):
        FitNet(2, 2)(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 7, 7))


def test_embeddings_of_different_size_are_refused() -> None:
    with pytest.raises(PreceptorError, match="6 entries, the teacher's 8"):
        EmbeddingFit(6, 8)


def test_the_regressor_of_ssd_kd_has_batch_norm_and_relu() -> None:
    """conv_bn_relu: a convolution without offset, normalised by the batch, negative values cut off."""
    loss = FitNet(3, 4, regressor="conv_bn_relu").double()
    ours, theirs = (torch.randn(5, k, 2, 3, generator=generator(k), dtype=torch.float64) for k in (3, 4))
    weight = loss.regressor[0].weight.flatten(1)

    def literal(point: Tensor) -> Tensor:
        mapped = torch.einsum("kc,bchw->bkhw", weight, point)
        mean = mapped.mean((0, 2, 3), keepdim=True)
        variance = (mapped - mean).square().mean((0, 2, 3), keepdim=True)
        return (((mapped - mean) / (variance + 1e-5).sqrt()).clamp(min=0) - theirs).square().mean()

    assert_same(lambda point: loss(point, theirs), literal, ours)
    with pytest.raises(PreceptorError, match="regressor"):
        FitNet(3, 4, regressor="linear")
