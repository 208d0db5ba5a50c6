"""A fast form of a loss against the literal one: time, memory and error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.measure import extra_memory, seconds

Form = Callable[..., Tensor]


@dataclass(frozen=True)
class Comparison:
    """Literal over fast: above one the fast form is better. Seconds and bytes are of one call."""

    name: str
    shape: str
    speedup: float
    memory_ratio: float
    max_rel_error_value: float
    max_rel_error_grad: float
    literal_seconds: float
    seconds: float
    literal_bytes: int
    bytes: int


def compare(
    name: str, shape: str, at: Sequence[Tensor], fast: Form, literal: Form, exact: Form, repeats: int = 7
) -> Comparison:
    """Errors of ``fast`` against ``exact`` in float64 first, while both see the initial banks; then time and memory."""

    def run(form: Form, dtype: torch.dtype = torch.float32) -> tuple[Tensor, list[Tensor]]:
        points = [side.to(dtype, copy=True).requires_grad_() for side in at]
        value = form(*points)
        gradients = torch.autograd.grad(value, points, allow_unused=True)
        return value.detach(), [gradient for gradient in gradients if gradient is not None]

    def as_double(value: Tensor, gradients: list[Tensor]) -> tuple[Tensor, Tensor]:
        return value.double(), torch.cat([gradient.double().flatten() for gradient in gradients])

    value, gradient = as_double(*run(exact, torch.float64))
    fast_value, fast_gradient = as_double(*run(fast))
    slow, quick = seconds(lambda: run(literal), lambda: run(fast), repeats=repeats)
    device = at[0].device
    large, small = extra_memory(lambda: run(literal), device), extra_memory(lambda: run(fast), device)
    return Comparison(
        name=name,
        shape=shape,
        speedup=slow / quick,
        memory_ratio=large / small,
        max_rel_error_value=((fast_value - value).abs() / value.abs()).item(),
        max_rel_error_grad=((fast_gradient - gradient).abs().max() / gradient.abs().max()).item(),
        literal_seconds=slow,
        seconds=quick,
        literal_bytes=large,
        bytes=small,
    )


def line(case: Comparison) -> str:
    time = f"{case.literal_seconds * 1e3:8.1f} ms -> {case.seconds * 1e3:6.1f} ms ({case.speedup:.1f}x)"
    memory = f"{case.literal_bytes / 1e6:6.1f} MB -> {case.bytes / 1e6:4.1f} MB ({case.memory_ratio:.0f}x)"
    errors = f"error {case.max_rel_error_value:.0e}, gradient {case.max_rel_error_grad:.0e}"
    return f"{case.name:<22} {case.shape:<42} {time}  {memory}  {errors}"
