"""Writing a file whole or not at all, and never over a file of someone else."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from preceptor.utils.errors import PreceptorError

_HALF = re.compile(r"\.(?P<name>.+)\.\d+\.tmp")  # as write_bytes calls it
_HEAD = 16_384  # bytes in which a mark must stand
#: What a PNG file of ours says of itself, by which it may be replaced by the command that wrote it.
MASK_MARK, SHEET_MARK = b"Preceptor mask", b"Preceptor contact sheet"


def is_full(error: BaseException | None) -> bool:
    """Whether the system refused to write because a disk, a quota or the limit of a file's size is reached.

    >>> is_full(OSError(errno.ENOSPC, "No space left on device")), is_full(OSError(errno.EACCES, "Permission denied"))
    (True, False)
    """
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_bytes(path: Path, content: bytes) -> None:
    """All of ``content`` at ``path``, or what was there before; never half a file, whatever happens in between.

    What a process that was killed while it wrote the same file has left is removed.

    Raises:
        OSError: it cannot be written; names ``path``.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        remove_halves(path, unless_alive=True)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # a full disk names no file of its own accord
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def remove_halves(path: Path, *, unless_alive: bool = False) -> None:
    """Remove what processes that were killed while they wrote ``path`` have left; others' files stay.

    Args:
        path: whose last part may hold ``*``, as in ``*.csv``.
        unless_alive: spare what a process that still runs may be writing; needed unless a lock keeps others out.
    """
    for half in path.parent.glob(f".{path.name.replace('[', '[[]')}.*.tmp"):
        process = half.name.split(".")[-2]
        if process.isdecimal() and not (unless_alive and is_alive(int(process))):
            half.unlink(missing_ok=True)


def name_when_whole(path: Path) -> str:
    """The name of a file or, of what :func:`write_bytes` leaves where it is killed, of the file that it began.

    >>> name_when_whole(Path("run/.metrics.json.4711.tmp")), name_when_whole(Path("run/notes.tmp"))
    ('metrics.json', 'notes.tmp')
    """
    half = _HALF.fullmatch(path.name)
    return half["name"] if half else path.name


def is_alive(process: int) -> bool:
    """Whether a process of this machine has this number; assumed where it cannot be asked."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


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
        remedy = "make room on the disk, or name another" if is_full(error) else "name another"
        raise PreceptorError(f"{option} {path}: cannot be written ({error.strerror})", remedy=remedy) from error


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
