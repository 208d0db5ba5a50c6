"""One training at a time in a process, since torch has one generator of random numbers for all threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from preceptor.utils.errors import PreceptorError

_lock = threading.RLock()
_depth = 0  # of trainings within trainings; read and changed by the thread that holds the lock alone


@contextmanager
def one_training() -> Iterator[None]:
    """Context manager of whatever prepares or trains runs: no other thread of this process does so meanwhile.

    Weights and dropout are drawn from torch's global generator, seeded before each draw; a second thread would seed it
    in between, and both would train other networks than alone. Blocks of one thread may be nested. The outermost one
    leaves the generators as it found them, so that random numbers of the caller's own do not start anew.

    Raises:
        PreceptorError: another thread is in such a block.
    """
    global _depth
    if not _lock.acquire(blocking=False):
        raise PreceptorError(
            "another training runs in this process, in another thread",
            expected="one training at a time in a process: both would draw from torch's one generator",
            remedy="train in a process each, or as a study, whose cells run beside each other; or one after the other",
        )
    try:
        _depth += 1
        if _depth > 1:
            yield
        else:
            with _generators_kept():
                yield
    finally:
        _depth -= 1
        _lock.release()


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Leave torch's generators as they were: the CPU's, and those of GPUs that are in use already."""
    state = torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        torch.set_rng_state(state)
        if gpus:
            torch.cuda.set_rng_state_all(gpus)
