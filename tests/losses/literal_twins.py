"""Helpers for twins: the formulas written out in float64, and comparison of values and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from preceptor.utils.randomness import generator


def assert_same(fast: Callable[[Tensor], Tensor], literal: Callable[[Tensor], Tensor], at: Tensor) -> None:
    """Both functions of one float64 tensor have the same value and gradient, to 1e-6 relative to the largest entry."""
    results = []
    for function in (fast, literal):
        point = at.detach().clone().requires_grad_()
        value = function(point)
        (gradient,) = torch.autograd.grad(value, point)
        results.append((value.detach(), gradient))
    (value, gradient), (value_twin, gradient_twin) = results
    torch.testing.assert_close(value, value_twin, rtol=1e-6, atol=1e-10)
    scale = gradient_twin.abs().max().item()
    torch.testing.assert_close(gradient, gradient_twin, rtol=0, atol=1e-6 * scale + 1e-10)


def assert_same_in_each(
    fast: Callable[..., Tensor], literal: Callable[..., Tensor], points: Sequence[Tensor], *others: object
) -> None:
    """:func:`assert_same` with respect to each tensor of a list in turn, the first argument of both functions."""
    for index in range(len(points)):

        def of_one(function: Callable[..., Tensor], index: int = index) -> Callable[[Tensor], Tensor]:
            return lambda point: function([*points[:index], point, *points[index + 1 :]], *others)

        assert_same(of_one(fast), of_one(literal), points[index])


def drawn(seed: int, *shape: int) -> Tensor:
    """Standard normal float64 numbers."""
    return torch.randn(*shape, generator=generator(seed, "twins"), dtype=torch.float64)


def pooled(feature_map: Tensor, height: int, width: int) -> Tensor:
    """Adaptive average pooling written out: entry i averages the places from ⌊i·H/h⌋ to ⌈(i+1)·H/h⌉."""
    columns = []
    for y in range(height):
        for x in range(width):
            top, bottom = y * feature_map.shape[2] // height, -(-(y + 1) * feature_map.shape[2] // height)
            left, right = x * feature_map.shape[3] // width, -(-(x + 1) * feature_map.shape[3] // width)
            window = feature_map[:, :, top:bottom, left:right]
            columns.append(window.sum((2, 3)) / ((bottom - top) * (right - left)))
    return torch.stack(columns, 2).reshape(*feature_map.shape[:2], height, width)


def convolved(feature_map: Tensor, layer: nn.Conv2d) -> Tensor:
    """A 1×1 or 3×3 convolution (padded by zeros, in one group) as a sum over its taps."""
    batch, _, height, width = feature_map.shape
    side = layer.weight.shape[2]
    padded = feature_map.new_zeros(batch, feature_map.shape[1], height + side - 1, width + side - 1)
    padded[:, :, side // 2 : side // 2 + height, side // 2 : side // 2 + width] = feature_map
    total = feature_map.new_zeros(batch, layer.weight.shape[0], height, width)
    for y in range(side):
        for x in range(side):
            shifted = padded[:, :, y : y + height, x : x + width]
            total = total + torch.einsum("ok,bkhw->bohw", layer.weight[:, :, y, x], shifted)
    return total if layer.bias is None else total + layer.bias[None, :, None, None]


def normalised(feature_map: Tensor, layer: nn.BatchNorm2d) -> Tensor:
    """Batch normalisation by the batch's mean and biased variance."""
    mean = feature_map.mean((0, 2, 3), keepdim=True)
    variance = ((feature_map - mean) ** 2).mean((0, 2, 3), keepdim=True)
    weight, bias = (each[None, :, None, None] for each in (layer.weight, layer.bias))
    return (feature_map - mean) / (variance + 1e-5).sqrt() * weight + bias


def probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """softmax(logits / T) over dimension 1."""
    powers = (logits / temperature).exp()
    return powers / powers.sum(1, keepdim=True)
