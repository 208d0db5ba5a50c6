"""The whole state of a run between two epochs, and nothing that needs unpickling.

Random draws have addresses (see :mod:`preceptor.utils.randomness`), so that there is no generator to save.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_bytes


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epoch: epochs completed.
        step: optimiser steps taken.
        best: the best value of the selection metric so far; None before the first validation.
        best_epoch: the epoch that reached it, from 1.
        stale: epochs since.
        seconds: time spent training and validating.
        history: one row an epoch, as ``history.csv``.
    """

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    stale: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


def save_checkpoint(path: Path, progress: Progress, parts: dict[str, Any]) -> None:
    """Writes ``progress`` and the ``state_dict()`` of each part, atomically."""
    state = {name: part.state_dict() for name, part in parts.items() if part is not None}
    save_state(path, {"format": 1, "progress": asdict(progress), **state})


def load_checkpoint(path: Path, parts: dict[str, Any]) -> Progress:
    """Restores the parts in place. A part that the file lacks, or has beyond these, is an error."""
    state = load_state(path)
    wanted = {name for name, part in parts.items() if part is not None}
    if set(state) != {"format", "progress"} | wanted:
        raise PreceptorError(
            f"{path}: holds {', '.join(sorted(state))}, this run needs {', '.join(sorted(wanted))}",
            remedy="the recipe and the checkpoint are of different runs; start anew",
        )
    for name in wanted:
        parts[name].load_state_dict(state[name])
    return Progress(**state["progress"])


def save_state(path: Path, state: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, OSError, pickle.UnpicklingError) as error:
        raise PreceptorError(
            f"{path}: cannot be read ({error})", remedy="the disk lost it; remove the file to start from epoch 1"
        ) from None
