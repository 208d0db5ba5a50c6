"""The rows of ``history.csv`` for tools that draw them while a run is training."""

from __future__ import annotations

import errno
import io
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import scalar


class Logger(Protocol):
    """Takes one row per epoch: ``epoch`` (from 1), then a number per key."""

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
    """Event files in ``directory``, opened with the first row.

    They are written at once and by the calling thread, so that a full disk ends the run with one error.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file: BinaryIO | None = None

    def restore(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write all rows anew: a run that was killed may have logged fewer epochs than its checkpoint holds."""
        for file in self.directory.glob("events.out.tfevents.*"):
            file.unlink()
        for row in history:
            self.write(row)

    def write(self, row: Mapping[str, float]) -> None:
        """Add the row of an epoch that has just ended.

        Raises:
            OSError: it cannot be written; names the file.
        """
        if self._file is None:
            self._file = self._open()
        for key, value in row.items():
            if key != "epoch":
                self._add(self._file, Event(step=int(row["epoch"]), summary=scalar(key, value)))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self) -> BinaryIO:
        self.directory.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.0"
        file = (self.directory / name).open("ab", buffering=0)
        self._add(file, Event(file_version="brain.Event:2"))
        return file

    def _add(self, file: BinaryIO, event: Event) -> None:
        event.wall_time = time.time()
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        try:
            if file.write(record.getvalue()) != len(record.getvalue()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise OSError(error.errno, error.strerror, file.name) from None
