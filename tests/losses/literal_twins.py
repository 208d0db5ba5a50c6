"""Helpers for twins: the formulas written out in float64, and comparison of values and gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


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
