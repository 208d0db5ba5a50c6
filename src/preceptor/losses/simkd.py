"""SimKD: the student learns the teacher's last map, and is used with the teacher's classifier."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.adapters import conv_bn_relu
from preceptor.losses.maps import at_common_size
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_positive
from preceptor.utils.errors import PreceptorError


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student = torch.randn(batch, 5, 6, 6, generator=generator).relu()
    teacher = torch.randn(batch, 8, 3, 3, generator=generator).relu()
    return {"student_channels": 5, "teacher_channels": 8}, {"student": student, "teacher": teacher}


@register_loss(
    "simkd",
    feeds={"student": "to.feature_map", "teacher": "from.feature_map"},
    trains=("student",),
    facts={"student_channels": "to.channels", "teacher_channels": "from.channels"},
    relates_images=True,  # its batch normalisation
    compares_places=True,
    example=_example,
)
class SimKD(nn.Module):
    """Knowledge distillation with the reused teacher classifier (Chen et al. 2022, eq. 2): MSE(projector(s), t) of the
    last maps.

    The projector is three convolutions without bias, each with batch normalisation and ReLU: 1×1 from K_s to K_t/r, 3×3
    and 1×1 to K_t. Maps of different size are averaged to the smaller one first. The student is meant to be used as
    backbone, ``projector``, pooling and the teacher's classifier, so that the projector belongs to its cost; its own
    classifier is not trained, and no label has a part in this loss.

    Args:
        student_channels: K_s; the engine gives both.
        teacher_channels: K_t.
        reduction: r, 2 in the authors' code.
        depthwise: whether the 3×3 convolution is depthwise, which makes the projector cheaper.

    Raises:
        PreceptorError: a reduction that leaves no channel.

    >>> loss = SimKD(8, 16)
    >>> loss(torch.rand(2, 8, 4, 4), torch.rand(2, 16, 4, 4)) > 0
    tensor(True)
    >>> loss.projector(torch.rand(2, 8, 4, 4)).shape
    torch.Size([2, 16, 4, 4])
    """

    def __init__(
        self, student_channels: int, teacher_channels: int, reduction: int = 2, depthwise: bool = False
    ) -> None:
        super().__init__()
        check_positive(reduction=reduction)
        middle = teacher_channels // reduction
        if not middle:
            raise PreceptorError(
                f"reduction: {reduction}, for {teacher_channels} channels of the teacher",
                expected=f"at most {teacher_channels}",
            )
        self.projector = nn.Sequential(
            *conv_bn_relu(student_channels, middle),
            *conv_bn_relu(middle, middle, kernel=3, groups=middle if depthwise else 1),
            *conv_bn_relu(middle, teacher_channels),
        )

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Maps (B, K_s, h, w) and (B, K_t, H, W) to a scalar."""
        student, teacher = at_common_size(student, teacher.detach())
        return functional.mse_loss(self.projector(student), teacher)
