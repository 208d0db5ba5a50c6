"""Writing a file whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


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
