"""What became of a job of a study, and how long its run has taken; loads no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["done", "failed", "pending"]


@dataclass(frozen=True)
class Outcome:
    """What became of a job; ``seconds`` includes what earlier sessions of the same run took.

    One that is pending may have an error too: of its last try, until this one has ended.
    """

    identity: str
    state: State
    error: str = ""
    seconds: float = 0.0


def seconds_so_far(path: Path) -> float:
    """What the epochs of a run took that are done already."""
    return sum(_epoch_seconds(path))


def epochs_done(path: Path) -> int:
    return len(_epoch_seconds(path))


def _epoch_seconds(path: Path) -> list[float]:
    """Of a history that cannot be read, none: it is written anew from the run's checkpoint."""
    try:
        head, *rows = (path / "history.csv").read_text().splitlines()
        column = head.split(",").index("seconds")
        seconds = [float(row.split(",")[column]) for row in rows]
    except (OSError, ValueError, IndexError):
        return []
    return seconds if all(map(math.isfinite, seconds)) else []
