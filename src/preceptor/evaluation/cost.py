"""What a network costs to store and to run."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from preceptor.networks.modes import evaluating

WARM_UP = 5  # forward passes before the clock starts: allocator, kernel selection, caches


def cost_of(module: nn.Module, image_size: int, *, repeats: int = 30) -> dict[str, Any]:
    """Size, arithmetic and latency of one forward pass over one image, ready for JSON.

    The module is measured where it lies, in inference mode; its training flags are put back and its weights and
    running statistics are not touched.

    Args:
        module: takes images (B, 3, S, S), float in [0, 1].
        image_size: S, the side of the image in pixels.
        repeats: timed forward passes.

    Returns:
        ``image_size``; ``parameters``; ``trainable_parameters``; ``bytes`` (weights and buffers as float32 safetensors,
        header included); ``flops`` (a multiply-add counts as two; convolutions, matrix products and attention only, as
        ``torch.utils.flop_counter`` does); ``latency_ms`` with ``median``, ``p10`` and ``p90`` in milliseconds and the
        conditions: ``batch`` (1), ``repeats``, ``threads``, ``device``, and where the system tells them ``load`` (mean
        number of runnable threads of the last minute) and ``cores``.

    Raises:
        ValueError: when ``repeats`` or ``image_size`` is less than one.
    """
    if repeats < 1 or image_size < 1:
        raise ValueError(f"repeats={repeats} and image_size={image_size} must be at least 1")
    device = next((tensor.device for tensor in module.state_dict().values()), torch.device("cpu"))
    images = torch.full((1, 3, image_size, image_size), 0.5, device=device)
    with evaluating(module), torch.no_grad():
        seconds = [timed_pass(module, images) for _ in range(WARM_UP + repeats)][WARM_UP:]
    p10, median, p90 = np.percentile(seconds, [10, 50, 90]) * 1000
    sizes = [(weight.numel(), weight.requires_grad) for weight in module.parameters()]
    return {
        "image_size": image_size,
        "parameters": sum(size for size, _ in sizes),
        "trainable_parameters": sum(size for size, trainable in sizes if trainable),
        "bytes": stored_bytes(module),
        "flops": flops_of(module, image_size),
        "latency_ms": {
            "median": float(median),
            "p10": float(p10),
            "p90": float(p90),
            "batch": 1,
            "repeats": repeats,
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            **_machine_load(),
        },
    }


def _machine_load() -> dict[str, float]:
    try:
        return {"load": round(os.getloadavg()[0], 2), "cores": os.cpu_count() or 1}
    except (OSError, AttributeError):
        return {}


def cost_of_all(costs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The cost of running several networks on an image, one after the other: sums of what :func:`cost_of` says."""
    sums = {key: sum(cost[key] for cost in costs) for key in ("parameters", "trainable_parameters", "bytes", "flops")}
    first = costs[0]["latency_ms"]
    latency = {key: sum(cost["latency_ms"][key] for cost in costs) for key in ("median", "p10", "p90")}
    return {"image_size": costs[0]["image_size"], **sums, "latency_ms": {**first, **latency}}


def flops_of(module: nn.Module, image_size: int) -> int:
    """Arithmetic of one forward pass over one image, as :func:`cost_of` counts it."""
    device = next((tensor.device for tensor in module.state_dict().values()), torch.device("cpu"))
    images = torch.full((1, 3, image_size, image_size), 0.5, device=device)
    with evaluating(module), torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(images)
    return int(counter.get_total_flops())


def timed_pass(module: nn.Module, images: Tensor) -> float:
    """Seconds of one forward pass, from an idle device to an idle device."""
    _wait(images.device)
    start = time.perf_counter()
    module(images)
    _wait(images.device)  # a CUDA call returns before its kernels have run
    return time.perf_counter() - start


def stored_bytes(module: nn.Module) -> int:
    """Of weights and buffers as float32 safetensors, header included."""
    # Cloned, since safetensors refuses tensors that share memory.
    state = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
    widened = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    return len(save({name: value.contiguous() for name, value in widened.items()}))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
