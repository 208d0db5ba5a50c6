"""How a test waits for a run in another process."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def epochs_done(out: Path) -> int:
    history = out / "history.csv"
    return len(history.read_text().splitlines()) - 1 if history.is_file() else 0


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 600  # a busy machine is slow; the test that waits has its own limit
    while not condition():
        assert process.poll() is None, "the run ended by itself"
        assert time.monotonic() < until, "the run did not come so far"
        time.sleep(0.002)
