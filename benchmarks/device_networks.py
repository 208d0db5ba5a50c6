"""Forward and backward of bare backbones: memory format, number format, kernels launched one by one or as one graph.

What an engine can gain there at most: each backbone of timm with seven classes, on random images, in training mode.
``graph`` replays a forward and backward pass that was recorded once (CUDA graphs), so that the host launches one thing
instead of hundreds; where it is much faster than the pass beside it, the host and not the GPU sets the pace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import Tensor, nn

from benchmarks.measure import seconds_in_a_row

CASES = (
    ("mobilenetv2_100", 64, 64),
    ("tf_efficientnet_lite2", 64, 64),
    ("resnet50", 224, 64),
    ("densenet121", 224, 64),
)
DRY_CASES = (("test_resnet", 32, 8),)
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
NUMBERS = {"float32": None, "bf16": torch.bfloat16}
REPEATS = 10


def networks(dry: bool = False) -> dict[str, Any]:
    """Seconds of a forward and backward pass by backbone, memory format and number format."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    figures: dict[str, Any] = {}
    for name, side, batch in DRY_CASES if dry else CASES:
        times: dict[str, Any] = {}
        for layout in FORMATS:
            for number in NUMBERS:
                work = _work(name, side, batch, layout, number, device)
                times[f"{layout}, {number}"] = _seconds(work)
        if device.type == "cuda":
            for number in NUMBERS:
                times[f"channels_last, {number}, graph"] = _graph(name, side, batch, number, device)
        figures[f"{name}, {side} px, batch {batch}"] = times
    return figures


def _work(
    name: str, side: int, batch: int, layout: str, number: str, device: torch.device, graph: bool = False
) -> Callable[[], object]:
    torch.manual_seed(0)
    network: nn.Module = timm.create_model(name, num_classes=7).to(device, memory_format=FORMATS[layout]).train()  # type: ignore[call-overload]
    images = torch.rand(batch, 3, side, side, device=device).to(memory_format=FORMATS[layout])
    autocast = torch.autocast(
        device.type, NUMBERS[number], enabled=NUMBERS[number] is not None, cache_enabled=not graph
    )
    with autocast:
        run: Any = torch.cuda.make_graphed_callables(network, (images,)) if graph else network

    def work() -> None:
        for parameter in network.parameters():
            parameter.grad = None
        with autocast:
            logits: Tensor = run(images)
        logits.float().logsumexp(1).mean().backward()  # type: ignore[no-untyped-call]

    return work


def _graph(name: str, side: int, batch: int, number: str, device: torch.device) -> float | str:
    try:
        return _seconds(_work(name, side, batch, "channels_last", number, device, graph=True))
    except RuntimeError as error:  # what cannot be recorded is a finding, and the others are worth their time
        return repr(error)[:200]


def _seconds(work: Callable[[], object]) -> float:
    for _ in range(3):
        work()
    return seconds_in_a_row(work, REPEATS)
