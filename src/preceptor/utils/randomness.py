"""Every random draw has an address: (seed, epoch, step, purpose). Nothing is drawn from a running global stream.

So a run that was killed and resumed draws what it would have drawn, without any generator state in a checkpoint.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def seed_of(*address: int | str) -> int:
    """A 63-bit seed that depends on every part of the address and on nothing else (stable across machines)."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in address)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*address: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator for one address, as in ``generator(seed, epoch, step, "views/student")``."""
    import torch  # here: readers draw seeds, and are asked for before torch is needed

    return torch.Generator(device=device).manual_seed(seed_of(*address))
