"""A process that does not outlive the one that started it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.connection import wait


def end_with_parent() -> None:
    """From now on this process ends as soon as its parent has gone, however that one ended.

    A parent that is killed cannot tell its children, and they would train on with nobody to stop them. Waiting for
    the parent's end works everywhere; a signal at its death would be Linux's alone, and SIGINT, which torch asks for,
    is ignored by whatever a shell started in the background.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(parent: int) -> None:
    wait([parent])
    os._exit(1)
