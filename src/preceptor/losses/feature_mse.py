"""Mean squared error between the feature maps of two networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.maps import at_common_size, check_channels
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student = torch.randn(batch, 5, 3, 3, generator=generator).relu()
    teacher = torch.randn(batch, 5, 6, 6, generator=generator).relu()
    return {"student_channels": 5, "teacher_channels": 5}, {"student": student, "teacher": teacher}


@register_loss(
    "feature_mse",
    feeds={"student": "to.feature_map", "teacher": "from.feature_map"},
    trains=("student",),
    facts={"student_channels": "to.channels", "teacher_channels": "from.channels"},
    example=_example,
    compares_places=True,
)
class FeatureMSE(nn.Module):
    """Mean squared error of feature maps, over images, channels and places (Niyaz et al. 2024).

    Maps of other height or width are averaged to the smaller one first. Nothing is learned here: channels must agree,
    which the extra block of the teacher (``map_channels`` of a network) sees to.

    Args:
        student_channels: K of the student's map; the engine gives both.
        teacher_channels: K of the other's.

    Raises:
        PreceptorError: the channels differ.

    >>> FeatureMSE(8, 8)(torch.zeros(2, 8, 4, 4), torch.ones(2, 8, 2, 2)).item()
    1.0
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        check_channels("feature_mse", student_channels, teacher_channels)

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Maps (B, K, h, w) to a scalar."""
        return functional.mse_loss(*at_common_size(student, teacher.detach()))
