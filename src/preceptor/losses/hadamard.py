"""Hadamard matrices, whose entries are of one size and whose rows are orthogonal."""

from __future__ import annotations

import torch
from torch import Tensor

from preceptor.utils.errors import PreceptorError


def hadamard(size: int) -> Tensor:
    """A normalised Hadamard matrix H (D, D), float64: entries ±1/√D, H·Hᵀ = I.

    Built from 1, 2 or q + 1 for a prime q that is 3 modulo 4 (Paley's first construction), doubled as often as needed
    (Sylvester's). That covers the usual widths of embeddings: 192, 384, 512, 768, 1024, 1280, 2048, …

    Raises:
        PreceptorError: no matrix of this size can be built so; above 2, D has to be a multiple of 4.

    >>> matrix = hadamard(12)
    >>> torch.allclose(matrix @ matrix.T, torch.eye(12, dtype=torch.float64))
    True
    """
    doublings, core = 0, size
    while core > 2 and core % 2 == 0 and not _is_paley(core):
        core //= 2
        doublings += 1
    if core not in (1, 2) and not _is_paley(core):
        raise PreceptorError(
            f"an embedding of {size} entries has no Hadamard matrix that can be built here",
            expected="1, 2, or a multiple of 4 such as 384, 512, 768, 1024 or 1280",
        )
    matrix = _paley(core - 1) if core > 2 else _sylvester(torch.ones(1, 1, dtype=torch.float64), core // 2)
    return _sylvester(matrix, doublings) / size**0.5


def _sylvester(matrix: Tensor, times: int) -> Tensor:
    for _ in range(times):
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)], 0)
    return matrix


def _is_paley(order: int) -> bool:
    prime = order - 1
    return prime % 4 == 3 and all(prime % factor for factor in range(2, int(prime**0.5) + 1))


def _paley(prime: int) -> Tensor:
    """I + S, of a skew frame around the quadratic residues of i - j."""
    residues = torch.full((prime,), -1.0, dtype=torch.float64)
    residues[[number * number % prime for number in range(1, prime)]] = 1
    residues[0] = 0
    index = torch.arange(prime)
    matrix = torch.zeros(prime + 1, prime + 1, dtype=torch.float64)
    matrix[0, 1:], matrix[1:, 0] = 1, -1
    matrix[1:, 1:] = residues[(index[:, None] - index) % prime]
    return matrix + torch.eye(prime + 1, dtype=torch.float64)
