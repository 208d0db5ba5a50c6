"""The rows of ``history.csv`` for tools that draw them while a run is training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from torch.utils.tensorboard import SummaryWriter


class Logger(Protocol):
    """Takes one row an epoch: ``epoch`` (from 1), then a number a key."""

    def restore(self, history: Sequence[Mapping[str, float]]) -> None:
        """Make the log say what the checkpoint says, before the first epoch of a resumed run."""
        ...

    def write(self, row: Mapping[str, float]) -> None:
        """Add the row of an epoch that has just ended."""
        ...

    def close(self) -> None:
        """Write what is buffered and let go of the files."""
        ...


class TensorBoardLogger:
    """Event files in ``directory``, opened with the first row."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._writer: SummaryWriter | None = None

    def restore(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write all rows anew: a run that was killed may have logged fewer epochs than its checkpoint holds."""
        for file in self.directory.glob("events.out.tfevents.*"):
            file.unlink()
        for row in history:
            self._add(row)
        self._flush()

    def write(self, row: Mapping[str, float]) -> None:
        self._add(row)
        self._flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _add(self, row: Mapping[str, float]) -> None:
        if self._writer is None:
            self._writer = SummaryWriter(str(self.directory))
        for key, value in row.items():
            if key != "epoch":
                self._writer.add_scalar(key, value, int(row["epoch"]))

    def _flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()
