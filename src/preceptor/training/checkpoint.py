"""The whole state of a run between two epochs, and nothing that needs unpickling.

Random draws are keyed by (seed, epoch, step, purpose) (see :mod:`preceptor.utils.randomness`), so that there is no
generator to save.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_bytes

if TYPE_CHECKING:
    import torch

#: Format 2 names the parts of the model ``networks``, ``banks`` and ``objectives``; format 1 called the last ``terms``.
FORMAT = 2
_REMEDY = "restore it from a copy, or remove the folder checkpoints/ to train the run from epoch 1"


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epoch: epochs completed.
        step: optimiser steps taken.
        best: the best value of the selection metric so far; None before the first validation.
        best_epoch: the epoch that reached it, from 1.
        best_each: under ``select.epoch: each``, by network its own best value and the epoch that reached it.
        stale: epochs since.
        seconds: time spent training and validating.
        history: one row per epoch, as ``history.csv``.
    """

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    best_each: dict[str, tuple[float, int]] = field(default_factory=dict)
    stale: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class CheckpointStore:
    """Files in one directory: ``last.pt``, the whole state after the last epoch, ``best.pt``, the weights of the
    selected epoch, and ``best-NAME.pt``, those of a network whose epoch is its own. Each is replaced as a whole or not
    at all.

    Attributes:
        directory: made with the first checkpoint.
    """

    directory: Path

    @property
    def last(self) -> Path:
        return self.directory / "last.pt"

    @property
    def best(self) -> Path:
        return self.directory / "best.pt"

    def save(self, progress: Progress, parts: Mapping[str, Any]) -> None:
        """Write ``progress`` and the ``state_dict()`` of each part that is not None to ``last.pt``."""
        state = {name: part.state_dict() for name, part in parts.items() if part is not None}
        save_state(self.last, {"format": FORMAT, "progress": asdict(progress), **state})

    def save_best(self, epoch: int, model: torch.nn.Module) -> None:
        """Write the weights of the best epoch so far to ``best.pt``."""
        save_state(self.best, {"format": FORMAT, "epoch": epoch, "model": model.state_dict()})

    def best_of(self, network: str) -> Path:
        """Return the file of a network whose epoch is its own (``select.epoch: each``)."""
        return self.directory / f"best-{network}.pt"

    def save_best_of(self, network: str, epoch: int, module: torch.nn.Module) -> None:
        """Write the weights of one network at its best epoch so far."""
        save_state(self.best_of(network), {"format": FORMAT, "epoch": epoch, "model": module.state_dict()})

    def restore(self, parts: Mapping[str, Any]) -> Progress:
        """Load ``last.pt`` into the parts, in place; without that file leave them as they are.

        Raises:
            PreceptorError: the file is damaged, of an unknown format, or holds the state of another recipe.
        """
        if not self.last.is_file():
            return Progress()
        state = load_state(self.last)
        wanted = {name for name, part in parts.items() if part is not None}
        if set(state) != {"format", "progress"} | wanted:
            raise _unfit(self.last, f"it holds {', '.join(sorted(state))}, expected {', '.join(sorted(wanted))}")
        try:
            for name in wanted:
                parts[name].load_state_dict(state[name])
            return Progress(**state["progress"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unfit(self.last, str(error).splitlines()[0]) from None

    def progress(self) -> Progress:
        """Read from ``last.pt`` how far the run has come."""
        state = load_state(self.last)
        try:
            return Progress(**state["progress"])
        except (KeyError, TypeError) as error:
            raise _unfit(self.last, f"its progress is not readable ({error!r})") from None


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state at once or not at all."""
    import torch  # here, since whoever reads a finished run has a store of checkpoints too

    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint of any known format, with the names of the present one.

    Raises:
        PreceptorError: the file is missing or damaged, is no checkpoint, or is of an unknown format.
    """
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # checks the CRC of each part, which torch does not
        state = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of any type: the readers trip over whatever damaged bytes happen to mean
        raise PreceptorError(f"{path}: cannot be read ({str(error)[:300]})", remedy=_REMEDY) from None
    if damaged:
        raise PreceptorError(f"{path}: cannot be read (its part {damaged} has changed on the disk)", remedy=_REMEDY)
    if not isinstance(state, dict):
        raise PreceptorError(f"{path}: is no checkpoint of a run", remedy=_REMEDY)
    number = state.get("format", 1)
    if number not in (1, FORMAT):
        raise PreceptorError(
            f"{path}: the checkpoint is of format {number!r}",
            expected=f"format 1 or {FORMAT}",
            remedy="use the version of Preceptor that wrote it (environment.json names it)",
        )
    return _renamed(state) if number == 1 else state


def _renamed(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint of format 1, with the names of the present one."""
    renamed = {"model" if key == "classroom" else key: value for key, value in state.items()}
    if isinstance(model := renamed.get("model"), dict):
        renamed["model"] = {
            f"objectives.{key.removeprefix('terms.')}" if key.startswith("terms.") else key: value
            for key, value in model.items()
        }
    return renamed


def _unfit(path: Path, why: str) -> PreceptorError:
    return PreceptorError(
        f"{path}: the checkpoint does not fit this run's recipe ({why})",
        expected="the checkpoint that this run wrote",
        remedy=_REMEDY,
    )
