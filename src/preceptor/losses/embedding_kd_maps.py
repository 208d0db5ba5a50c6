"""Distillation of embeddings without labels, by the teacher's last maps themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.likeness import linear_head
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.utils.errors import PreceptorError


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student = torch.randn(batch, 5, 2, 2, generator=generator)
    teacher = [torch.randn(batch, 8, 4, 3, generator=generator) for _ in range(2)]
    return {"student_channels": 5, "teacher_channels": (8, 8)}, {"student": student, "teacher": teacher}


@register_loss(
    "embedding_kd_maps",
    feeds={"student": "to.feature_map", "teacher": "from.features"},
    trains=("student",),
    facts={"student_channels": "to.channels", "teacher_channels": "from.feature_channels"},
    compares_places=True,
    features=("penultimate", "stage4"),
    example=_example,
)
class EmbeddingMaps(nn.Module):
    """Label-free distillation of maps, version 2 of lightly-train (Lightly 2025):

        mean over images, channels and places of ( h_s - [t_1, …, t_n] )²

    t are the teacher's last n maps, those of its last two blocks by default, one upon another; h_s is a learned linear
    layer on each place of the student's map, enlarged bilinearly to the teacher's grid.

    Args:
        student_channels: K of the student's map; the engine gives both.
        teacher_channels: those of the teacher's maps.

    >>> EmbeddingMaps(8, (16, 16))(torch.rand(2, 8, 4, 4), [torch.rand(2, 16, 6, 6)] * 2) > 0
    tensor(True)
    """

    def __init__(self, student_channels: int, teacher_channels: Sequence[int]) -> None:
        super().__init__()
        self.head = linear_head(student_channels, sum(teacher_channels))

    @full_precision
    def forward(self, student: Tensor, teacher: list[Tensor]) -> Tensor:
        """A map (B, K, h, w) and maps (B, K_i, H, W) to a scalar.

        Raises:
            PreceptorError: the teacher's maps are of different size.
        """
        sizes = {tuple(maps.shape[2:]) for maps in teacher}
        if len(sizes) > 1:
            raise PreceptorError(
                f"embedding_kd_maps: the teacher's maps are of {len(sizes)} sizes",
                expected="maps of one size, as a transformer's",
                remedy="name one map: features: [stage4]",
            )
        theirs = torch.cat([maps.detach() for maps in teacher], dim=1)
        ours = self.head(student.movedim(1, -1)).movedim(-1, 1)
        ours = functional.interpolate(ours, theirs.shape[2:], mode="bilinear", align_corners=False)
        return functional.mse_loss(ours, theirs)
