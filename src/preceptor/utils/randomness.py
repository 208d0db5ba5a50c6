"""Every random draw has an address: (seed, epoch, step, purpose). Nothing is drawn from a running global stream.

So a run that was killed and resumed draws what it would have drawn, without any generator state in a checkpoint.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_global_generator = threading.RLock()


def seed_of(*address: int | str) -> int:
    """A 63-bit seed that depends on every part of the address and on nothing else (stable across machines)."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in address)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*address: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator for one address, as in ``generator(seed, epoch, step, "views/student")``."""
    import torch  # here: readers draw seeds, and are asked for before torch is needed

    return torch.Generator(device=device).manual_seed(seed_of(*address))


@contextmanager
def global_generator() -> Iterator[None]:
    """Context manager of whatever draws from torch's global generator: no other thread is in such a block meanwhile.

    Layers draw their first weights and their dropout from it, whoever seeds it: without this a network that one thread
    loads would take numbers from the dropout of another's training. Blocks of one thread may be nested.
    """
    with _global_generator:
        yield


@contextmanager
def global_generator_kept() -> Iterator[None]:
    """As :func:`global_generator`, for draws that do not matter: the CPU's generator is left as it was found."""
    import torch

    with _global_generator, torch.random.fork_rng(devices=[]):
        yield


@contextmanager
def global_generator_at(*address: int | str) -> Iterator[None]:
    """As :func:`global_generator_kept`, with the generator seeded for an address inside the block."""
    import torch

    with global_generator_kept():
        torch.manual_seed(seed_of(*address))
        yield
