"""Every registered loss on the device in float32 against itself on the CPU in float64."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from preceptor.losses.registry import LOSSES, LossSpec
from preceptor.testing.sample import cast, let_train, trial

#: Relative error beyond which a loss is measured again without TensorFloat-32.
INEXACT = 1e-5


def exactness(dry: bool = False) -> dict[str, Any]:
    """Relative errors of value and gradient by loss, and the largest of them.

    Losses that draw on the device are left out with a note, since a GPU draws other numbers.

    Args:
        dry: only the first few losses.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    errors: dict[str, Any] = {}
    for name in list(LOSSES)[: 5 if dry else None]:
        spec = LOSSES[name]
        if "generator" in spec.feeds.values() and device.type == "cuda":
            errors[name] = "draws on the device"
            continue
        value, gradient = _value_and_gradient(spec, torch.device("cpu"), torch.float64)
        on_device = _value_and_gradient(spec, device)
        errors[name] = {"value": _error(on_device[0], value), "gradient": _error(on_device[1], gradient)}
        if device.type == "cuda" and max(errors[name].values()) > INEXACT:
            torch.backends.cudnn.allow_tf32 = False
            try:
                again = _value_and_gradient(spec, device)
            finally:
                torch.backends.cudnn.allow_tf32 = True  # torch's default
            pairs = {"value": (again[0], value), "gradient": (again[1], gradient)}
            errors[name]["without TF32"] = {key: _error(*pair) for key, pair in pairs.items()}
    known = [max(pair["value"], pair["gradient"]) for pair in errors.values() if isinstance(pair, dict)]
    return {"device": str(device), "largest": max(known), "losses": errors}


def _value_and_gradient(
    spec: LossSpec, device: torch.device, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Of the loss's own example, which is float32 but for the sums of memory banks, or all of it in another type."""
    built = trial(spec)
    built.module.to(device, dtype)
    cast_all = {name: value if dtype is None else cast(value, dtype) for name, value in built.inputs.items()}
    built.inputs = {name: _on(device, value) for name, value in cast_all.items()}
    trained = [tensor for _, tensor in let_train(spec, built.inputs)]
    value = built.value()
    gradients = torch.autograd.grad(value, trained, allow_unused=True)
    flat = [gradient.detach().double().cpu().flatten() for gradient in gradients if gradient is not None]
    return value.detach().double().cpu(), torch.cat(flat)


def _on(device: torch.device, value: Any) -> Any:
    if isinstance(value, list):
        return [_on(device, item) for item in value]
    if isinstance(value, torch.Generator):
        return torch.Generator(device).manual_seed(value.initial_seed())
    return value.to(device) if isinstance(value, Tensor | nn.Module) else value


def _error(value: Tensor, expected: Tensor) -> float:
    return float((value - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
