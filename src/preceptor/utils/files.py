"""Writing a file whole or not at all, and never over a file of someone else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from preceptor.utils.errors import PreceptorError

_HEAD = 16_384  # bytes in which a mark must stand
#: What a PNG file of ours says of itself, by which it may be replaced by the command that wrote it.
MASK_MARK, SHEET_MARK = b"Preceptor mask", b"Preceptor contact sheet"


def write_bytes(path: Path, content: bytes) -> None:
    """All of ``content`` at ``path``, or what was there before; never half a file, whatever happens in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def remove_halves(path: Path) -> None:
    """Removes what a process that was killed while it wrote ``path`` has left; others' files stay."""
    for half in path.parent.glob(f".{path.name}.*.tmp"):
        if half.name.split(".")[-2].isdecimal():
            half.unlink(missing_ok=True)


def refuse_foreign(path: Path, marks: Sequence[bytes], option: str = "--out") -> None:
    """Raise unless a command may write ``path``: it is absent, or a file that the same command wrote before.

    Args:
        marks: bytes of which one stands in the first 16 KiB of what the command writes; none where only a new file will
            do.
        option: what named the path, for messages.

    Raises:
        PreceptorError: another file or a folder is there, or nothing can be written there.
    """
    if path.is_dir():
        raise PreceptorError(f"{option} {path}: cannot be written, since it is a folder", expected="a file")
    refuse_unwritable(path, option)
    if path.exists() and not has_mark(path, marks):
        raise PreceptorError(
            f"{option} {path}: exists, and is not a file that this command wrote",
            expected="a new file, or an earlier output of the same command",
            remedy=f"name another file, or remove {path.name} first",
        )


def has_mark(path: Path, marks: Sequence[bytes]) -> bool:
    """Whether one of the marks stands in the first 16 KiB of a file."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return any(mark in head for mark in marks)


def refuse_unwritable(path: Path, option: str = "--out") -> None:
    """Raise :class:`PreceptorError` if a file or folder ``path`` could not be created or replaced."""
    try:
        there = next(place for place in (path, *path.absolute().parents) if place.exists())
    except OSError as error:
        raise PreceptorError(f"{option} {path}: cannot be written ({error.strerror})", remedy="name another") from None
    if there != path and not there.is_dir():
        raise PreceptorError(f"{option} {path}: cannot be written, since {there} is a file", remedy="name another")
    if not os.access(there, os.W_OK):
        raise PreceptorError(f"{option} {path}: cannot be written, since {there} is read-only", remedy="name another")


def write_output(path: Path, content: str | bytes, option: str = "--out") -> None:
    """Write what a command was asked to write at ``path``; bytes of file names that are not UTF-8 become escapes.

    Raises:
        PreceptorError: it cannot be written, and why.
    """
    try:
        write_bytes(path, content if isinstance(content, bytes) else content.encode(errors="backslashreplace"))
    except OSError as error:
        raise PreceptorError(f"{option} {path}: cannot be written ({error.strerror})", remedy="name another") from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
