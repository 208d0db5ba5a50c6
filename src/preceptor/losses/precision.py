"""Losses are computed in single precision at least, whatever the networks run in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Tensor])


def widen(value: Any) -> Any:
    """Half and bfloat16 tensors as float32, also those of a list; anything else, float64 included, as it is.

    Outputs of a teacher under ``torch.inference_mode()`` are copied: no gradient can be taken through a product with
    them otherwise.
    """
    if isinstance(value, list | tuple):
        return [widen(item) for item in value]
    if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        return value.float()
    if isinstance(value, Tensor) and value.is_inference() and not torch.is_inference_mode_enabled():
        return value.clone()
    return value


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def full_precision(forward: F) -> F:
    """Decorates ``forward`` of a loss: widens its tensors and switches autocast off inside.

    Differences, exponentials and square roots lose their meaning in bfloat16's eight bits, and autocast would carry
    every matrix product into it even when the inputs are float32.
    """

    @wraps(forward)
    def in_full(self: Any, *args: Any, **kwargs: Any) -> Tensor:
        wide = [widen(value) for value in args]
        named = {name: widen(value) for name, value in kwargs.items()}
        device = next((tensor.device.type for tensor in _tensors([*wide, *named.values()])), "cpu")
        with torch.autocast(device, enabled=False):
            return forward(self, *wide, **named)

    return in_full  # type: ignore[return-value]
