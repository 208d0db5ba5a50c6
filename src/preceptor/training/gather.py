"""The global batch from the shards of several processes, with gradients."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather
from torch.nn import functional as F


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_rows(local: Tensor, sizes: list[int]) -> Tensor:
    """The rows of every process in the order of ranks, the same tensor everywhere.

    When every process computes the same loss of the result, the gradient that comes back is the sum over processes;
    DDP's mean over processes then makes it the gradient of that loss on one process.

    Args:
        local: (n_rank, …) this process's rows.
        sizes: rows of each rank; they may differ.
    """
    padded = F.pad(local, [0, 0] * (local.ndim - 1) + [0, max(sizes) - len(local)])
    if padded.requires_grad:
        parts = list(all_gather(padded))
    else:
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded.contiguous())
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def gather_views(local: Tensor, sizes: list[int]) -> Tensor:
    """As :func:`gather_rows` for V views of each image, one block of n rows a view: the blocks are those of all.

    Args:
        local: (V·n_rank, …).
    """
    mine = sizes[dist.get_rank()]
    views = len(local) // mine
    if views == 1:
        return gather_rows(local, sizes)
    whole = gather_rows(local.unflatten(0, (views, mine)).transpose(0, 1), sizes)
    return whole.transpose(0, 1).flatten(0, 1)
