"""Values whose gradient is worked out together with them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def wants_gradient(point: Tensor) -> bool:
    """Whether somebody may ask for a gradient with respect to this tensor."""
    return torch.is_grad_enabled() and point.requires_grad


def with_gradient(point: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    """``value`` as a function of ``point``, whose gradient is known already.

    Args:
        point: of any shape.
        value: (), without gradient.
        gradient: of value with respect to ``point``, and of its shape.
    """
    return _WithGradient.apply(point, value, gradient)


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, point: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, above: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return above * gradient, None, None
