"""Distillation of embeddings without labels, by similarities between the places of an image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.likeness import linear_head, similarity_divergence
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_positive


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student = torch.randn(batch, 5, 2, 2, generator=generator)
    teacher = torch.randn(batch, 8, 4, 3, generator=generator)
    return {"student_channels": 5, "teacher_channels": 8}, {"student": student, "teacher": teacher}


@register_loss(
    "embedding_kd_tokens",
    feeds={"student": "to.feature_map", "teacher": "from.feature_map"},
    trains=("student",),
    facts={"student_channels": "to.channels", "teacher_channels": "from.channels"},
    compares_places=True,
    example=_example,
)
class EmbeddingTokens(nn.Module):
    """Label-free distillation of places, the local term of version 3 of lightly-train (Lightly 2025):

        KL( softmax(h_t·h_tᵀ / τ) ‖ softmax(h_s·h_sᵀ / τ) ),  averaged over images and places

    for the M×M similarities between the places of one image, the diagonal included. h_t are the teacher's unit columns;
    h_s those of a learned linear layer on each place of the student's map, enlarged bilinearly to the teacher's grid.
    It takes 4·B·M² bytes, so that M should not be far above 1,000.

    Args:
        student_channels: K of the student's map; the engine gives both.
        teacher_channels: K of the teacher's.
        temperature: τ > 0.

    Raises:
        PreceptorError: a temperature that is not positive.

    >>> EmbeddingTokens(8, 16)(torch.rand(2, 8, 4, 4), torch.rand(2, 16, 6, 6)) > 0
    tensor(True)
    """

    def __init__(self, student_channels: int, teacher_channels: int, temperature: float = 0.07) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.head, self.temperature = linear_head(student_channels, teacher_channels), temperature

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Maps (B, K, h, w) and (B, K', H, W) to a scalar."""
        ours = self.head(student.movedim(1, -1)).movedim(-1, 1)
        ours = functional.interpolate(ours, teacher.shape[2:], mode="bilinear", align_corners=False)
        rows, teacher_rows = (functional.normalize(maps.flatten(2).mT, dim=2) for maps in (ours, teacher.detach()))
        return similarity_divergence(rows @ rows.mT, teacher_rows @ teacher_rows.mT, self.temperature)
