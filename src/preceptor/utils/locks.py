"""Locks on folders: one process at a time, and none is left locked by a process that was killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from preceptor.utils.errors import PreceptorError


@contextmanager
def locked(file: Path, busy: str, remedy: str, *, patience: float = 0) -> Iterator[None]:
    """Hold the lock ``file`` inside the block; its folder is made.

    Args:
        busy: what is wrong when another process holds it.
        remedy: what to do then.
        patience: seconds to wait for the other process.

    Raises:
        PreceptorError: another process holds the lock, or the folder cannot be written to.
    """
    lock = FileLock(file, timeout=patience)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise PreceptorError(busy, remedy=remedy) from None
    except OSError as error:
        raise PreceptorError(
            f"{file.parent}: cannot be written to ({error.strerror})",
            remedy="make it writable, or choose another folder",
        ) from None
    try:
        yield
    finally:
        lock.release()
