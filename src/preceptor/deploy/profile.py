"""What ``preceptor profile`` measures: size, arithmetic and latency of finished networks, on this machine."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from preceptor.evaluation.cost import WARM_UP, flops_of, stored_bytes, timed_pass
from preceptor.networks.kinds import Network
from preceptor.networks.modes import evaluating

PERCENTILES = (50, 90, 99)
LEAST = 20  # passes, however long they take
STRETCH = 5  # passes of one network in a row
PATIENCE = 20.0  # seconds after which a batch size has been timed often enough


@dataclass(frozen=True)
class Profile:
    """The cost of one network.

    Attributes:
        name: what the table calls it.
        backbone: a timm name.
        image_size: side of the images it was measured on, in pixels.
        parameters: all of them.
        bytes: of its file; as float32 safetensors where it has none.
        flops: of one image; a multiply-add counts as two (see :func:`preceptor.evaluation.cost.cost_of`).
        latency_ms: by batch size, of one whole batch: ``p50``, ``p90``, ``p99`` and the number of ``repeats``.
        threads: of torch, on the CPU.
        device: ``cpu``, or the name of the GPU.
    """

    name: str
    backbone: str
    image_size: int
    parameters: int
    bytes: int
    flops: int
    latency_ms: dict[int, dict[str, float]]
    threads: int
    device: str

    def plain(self) -> dict[str, Any]:
        """Ready for JSON; batch sizes become text."""
        plain = {key: getattr(self, key) for key in self.__dataclass_fields__}
        return plain | {"latency_ms": {str(batch): latency for batch, latency in self.latency_ms.items()}}


def profile(
    networks: Mapping[str, Network],
    files: Mapping[str, Path],
    *,
    batches: Sequence[int] = (1, 32),
    repeats: int = 100,
    patience: float = PATIENCE,
    progress: Callable[[int], None] | None = None,
) -> list[Profile]:
    """Measures networks where they lie, each on images of the size that it was made for.

    The networks are timed in turn, a few passes each after one that does not count, so that whatever else the machine
    does meets all of them alike. A batch size is timed ``repeats`` times, or fewer (but 20 at least) once ``patience``
    seconds have gone into it for each network.

    Args:
        networks: by the name to show, in evaluation mode or not; their flags and weights are left as they are.
        files: the file of each, where it has one.
        batches: images in a pass.
        repeats: timed passes, after some to warm up.
        progress: told after each batch size.
    """
    latencies = {batch: _latencies(networks, batch, repeats, patience, progress) for batch in batches}
    return [
        Profile(
            name=name,
            backbone=network.architecture.backbone,
            image_size=network.architecture.image_size,
            parameters=sum(weight.numel() for weight in network.parameters()),
            bytes=files[name].stat().st_size if name in files else stored_bytes(network),
            flops=flops_of(network, network.architecture.image_size),
            latency_ms={batch: latencies[batch][name] for batch in batches},
            threads=torch.get_num_threads(),
            device=_device_of(network),
        )
        for name, network in networks.items()
    ]


def as_json(profiles: Sequence[Profile]) -> str:
    """A list with one object per network."""
    return json.dumps([profile.plain() for profile in profiles], indent=2, ensure_ascii=False) + "\n"


def as_csv(profiles: Sequence[Profile]) -> str:
    """One row per network, one column per figure: ``latency_1_p50_ms`` and the like."""
    text = io.StringIO()
    rows = []
    for profile in profiles:
        row = {key: value for key, value in profile.plain().items() if key != "latency_ms"}
        for batch, latency in profile.latency_ms.items():
            row |= {f"latency_{batch}_p{p}_ms": latency[f"p{p}"] for p in PERCENTILES}
            row[f"latency_{batch}_repeats"] = latency["repeats"]
        rows.append(row)
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_table(profiles: Sequence[Profile]) -> Group:
    """For the terminal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("network", overflow="fold")
    for heading in ("px", "parameters", "file", "FLOPs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for batch in profiles[0].latency_ms:
        percentiles = ", ".join(f"p{p}" for p in PERCENTILES)
        table.add_column(f"ms per batch of {batch}\n{percentiles}", justify="right", no_wrap=True)
    for profile in profiles:
        batches = profile.latency_ms.values()
        latencies = ["  ".join(f"{latency[f'p{p}']:.4g}" for p in PERCENTILES) for latency in batches]
        sizes = [f"{profile.parameters / 1e6:.2f} M", f"{profile.bytes / 1e6:.2f} MB", f"{profile.flops / 1e6:,.1f} M"]
        table.add_row(f"{profile.name}\n  {profile.backbone}", str(profile.image_size), *sizes, *latencies)
    conditions = dict.fromkeys(f"{profile.device}, {profile.threads} threads" for profile in profiles)
    repeats = sorted({int(latency["repeats"]) for profile in profiles for latency in profile.latency_ms.values()})
    passes = f"{repeats[0]}" if len(repeats) == 1 else f"{repeats[0]} to {repeats[-1]}"
    note = f"Warm, {'; '.join(conditions)}, {passes} passes each in float32; a multiply-add is two FLOPs."
    return Group(table, Text(note))


def _latencies(
    networks: Mapping[str, Network],
    batch: int,
    repeats: int,
    patience: float,
    progress: Callable[[int], None] | None,
) -> dict[str, dict[str, float]]:
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    images = {}
    for name, network in networks.items():
        side, device = network.architecture.image_size, next(network.parameters()).device
        images[name] = torch.full((batch, 3, side, side), 0.5, device=device)
    began = time.perf_counter()
    with evaluating(*networks.values()), torch.no_grad():
        for done in range(0, repeats, STRETCH):
            if done >= LEAST and time.perf_counter() - began > patience * len(networks):
                break
            for name, network in networks.items():
                for _ in range(WARM_UP if done == 0 else 1):
                    timed_pass(network, images[name])
                seconds[name] += [timed_pass(network, images[name]) for _ in range(min(STRETCH, repeats - done))]
    if progress:
        progress(1)
    return {name: _percentiles(taken) for name, taken in seconds.items()}


def _percentiles(seconds: list[float]) -> dict[str, float]:
    values = np.percentile(seconds, PERCENTILES) * 1000
    return {f"p{p}": float(value) for p, value in zip(PERCENTILES, values, strict=True)} | {"repeats": len(seconds)}


def _device_of(network: Network) -> str:
    device = next(network.parameters()).device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
