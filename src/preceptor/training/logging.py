"""The same rows as ``history.csv``, for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


class TensorBoardLogger:
    """Opened with the first row, so that a resumed run hides what it wrote of epochs that it now repeats."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._writer: SummaryWriter | None = None

    def write(self, row: Mapping[str, float]) -> None:
        epoch = int(row["epoch"])
        if self._writer is None:
            self._writer = SummaryWriter(str(self.directory), purge_step=epoch)
        for key, value in row.items():
            if key != "epoch":
                self._writer.add_scalar(key, value, epoch)
        self._writer.flush()
