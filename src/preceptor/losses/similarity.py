"""Similarity preserving: the pairwise similarities of a batch in the student against the teacher's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.likeness import similarity_matrix
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss


def _example_maps(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    return {}, {
        "student": torch.randn(batch, 5, 3, 3, generator=generator).relu(),
        "teacher": torch.randn(batch, 8, 2, 2, generator=generator).relu(),
    }


def _example_embeddings(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    return {}, {
        "student": torch.randn(batch, 5, generator=generator),
        "teacher": torch.randn(batch, 8, generator=generator),
    }


@register_loss(
    "sp_embedding",
    feeds={"student": "to.embedding", "teacher": "from.embedding"},
    trains=("student",),
    relates_images=True,
    example=_example_embeddings,
)
@register_loss(
    "sp",
    feeds={"student": "to.feature_map", "teacher": "from.feature_map"},
    trains=("student",),
    relates_images=True,
    example=_example_maps,
)
class SimilarityPreserving(nn.Module):
    """‖G_t - G_s‖²_F / B² (Tung & Mori 2019): G is the B×B matrix of inner products between the images'
    flattened activations, its rows scaled to unit length.

    The widths of the two networks need not agree. ``sp`` compares feature maps, as in the paper; ``sp_embedding`` the
    pooled embeddings.

    >>> embeddings = torch.rand(4, 8)
    >>> SimilarityPreserving()(3 * embeddings, embeddings) < 1e-12
    tensor(True)
    """

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """(B, …) of either network, of any further shape, to a scalar."""
        ours, theirs = similarity_matrix(student), similarity_matrix(teacher.detach())
        return functional.mse_loss(ours, theirs)  # the mean is over B² entries
