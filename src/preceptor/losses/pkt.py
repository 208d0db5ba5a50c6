"""Probabilistic knowledge transfer: the images of a batch as neighbours of each other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss

_EPSILON = 1e-7


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student, teacher = (torch.randn(batch, size, generator=generator) for size in (5, 8))
    return {}, {"student": student, "teacher": teacher}


@register_loss(
    "pkt",
    feeds={"student": "to.embedding", "teacher": "from.embedding"},
    trains=("student",),
    relates_images=True,
    example=_example,
)
class ProbabilisticTransfer(nn.Module):
    """Probabilistic knowledge transfer (Passalis & Tefas 2018, eqs. 4 to 7, cosine kernel), as in the authors' code:

        L = mean over all B² pairs of P_t·log( (P_t + ε) / (P_s + ε) ),   ε = 10⁻⁷

    where P is the matrix of (cos + 1)/2 between the embeddings of the batch, diagonal included, each row divided by its
    sum, and the cosine is that of rows f/(‖f‖ + ε). The widths of the networks need not agree; a single image gives 0.
    Computed in float64, since the ratios are near one and B×B is small. The weight 30,000 belongs to the mean over B².

    >>> embeddings = torch.rand(4, 8)
    >>> ProbabilisticTransfer()(embeddings, embeddings).item()
    0.0
    """

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Embeddings (B, D) and (B, D') to a scalar."""
        ours, theirs = _neighbours(student), _neighbours(teacher.detach())
        terms = theirs * ((theirs + _EPSILON) / (ours + _EPSILON)).log()
        return terms.mean().to(student.dtype)


def _neighbours(embeddings: Tensor) -> Tensor:
    rows = embeddings.double()
    rows = rows / (torch.linalg.vector_norm(rows, dim=1, keepdim=True) + _EPSILON)
    likeness = (rows @ rows.T + 1) / 2
    return likeness / likeness.sum(dim=1, keepdim=True)
