"""Products of queries with some rows of a large bank, by whichever of two exact ways is cheaper.

Dense: score every row with one matrix product, then pick. It reads the bank once, B·N scores are held for a moment.
Sparse: fetch the rows that are asked for, a few images at a time so that they stay in the processor's cache; nothing of
size N, nor the B×k×d copy of the rows, ever exists. Two cores and an index of 64×4116 break even near N = 100,000.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

#: The dense way is taken while the bank has at most this many rows for each row asked for by one query.
DENSE_UNTIL = 24

_CACHED = 1 << 21  # entries of bank rows fetched at a time: 8 MiB of float32, near the cache and worth two threads
_CACHED_CUDA = 1 << 25  # a launch is dear there, memory is not
_SUMMED = 64  # products added one after the other


def is_dense(bank: Tensor, index: Tensor) -> bool:
    return len(bank) <= DENSE_UNTIL * index.shape[1]


def scores(queries: Tensor, bank: Tensor, index: Tensor) -> Tensor:
    """queries[b] · bank[index[b, j]] for all b and j.

    Args:
        queries: (B, d).
        bank: (N, d), of the same type.
        index: (B, k), whole numbers in [0, N).

    Returns:
        (B, k), without gradient.
    """
    queries, bank = queries.detach(), bank.detach()
    if is_dense(bank, index):
        return (queries @ bank.T).gather(1, index)
    (batch, count), size = index.shape, bank.shape[1]
    together = max(1, (_CACHED_CUDA if bank.is_cuda else _CACHED) // (count * size))
    fetched = bank.new_empty(min(together, batch) * count, size)
    out = queries.new_empty(batch, count, 1)
    for at in range(0, batch, together):
        part = index[at : at + together]
        rows = torch.index_select(bank, 0, part.reshape(-1), out=fetched[: part.numel()])
        torch.bmm(rows.view(*part.shape, size), queries[at : at + together, :, None], out=out[at : at + together])
    return out.squeeze(2)


def weighted_rows(weights: Tensor, bank: Tensor, index: Tensor) -> Tensor:
    """Σ_j weights[b, j]·bank[index[b, j]]: what :func:`scores` is to the forward pass, this is to the backward one.

    Args:
        weights: (B, k), of the type of the bank.
        bank: (N, d).
        index: (B, k); a row may occur several times.

    Returns:
        (B, d), without gradient.
    """
    weights, bank = weights.detach(), bank.detach()
    if is_dense(bank, index):
        return weights.new_zeros(len(weights), len(bank)).scatter_add_(1, index, weights) @ bank
    # short sums first: added one after the other, thousands of float32 products lose a digit
    batch, count = index.shape
    starts = torch.arange(0, count, _SUMMED, device=index.device)
    offsets = torch.arange(batch, device=index.device)[:, None] * count + starts
    sums = functional.embedding_bag(
        index.flatten(), bank, offsets.flatten(), mode="sum", per_sample_weights=weights.flatten()
    )
    return sums.view(batch, len(starts), -1).sum(1)
