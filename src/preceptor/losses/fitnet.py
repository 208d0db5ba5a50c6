"""FitNets: the student's features, through a learned regressor, against the teacher's."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.adapters import conv_bn_relu
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_choice
from preceptor.utils.errors import PreceptorError


def _example_maps(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student = torch.randn(batch, 5, 3, 3, generator=generator).relu()
    teacher = torch.randn(batch, 8, 3, 3, generator=generator).relu()
    return {"student_channels": 5, "teacher_channels": 8}, {"student": student, "teacher": teacher}


@register_loss(
    "fitnet",
    feeds={"student": "to.feature_map", "teacher": "from.feature_map"},
    trains=("student",),
    facts={"student_channels": "to.channels", "teacher_channels": "from.channels"},
    relates_images=True,  # the batch normalisation of conv_bn_relu
    example=_example_maps,
)
class FitNet(nn.Module):
    """Mean squared error between hint maps (Romero et al. 2015); a learned 1×1 convolution takes the student's
    channels to the teacher's.

    Args:
        student_channels: K of the student's map; the engine gives both.
        teacher_channels: K of the teacher's.
        regressor: ``conv``, or ``conv_bn_relu`` with batch normalisation and ReLU behind it, as in the code of SSD-KD
            (Wang et al. 2023), whose teacher's maps are not negative.

    Raises:
        PreceptorError: an unknown regressor.

    >>> FitNet(8, 16)(torch.rand(2, 8, 4, 4), torch.rand(2, 16, 4, 4)) > 0
    tensor(True)
    """

    def __init__(
        self, student_channels: int, teacher_channels: int, regressor: Literal["conv", "conv_bn_relu"] = "conv"
    ) -> None:
        super().__init__()
        check_choice("regressor", regressor, ("conv", "conv_bn_relu"))
        self.regressor: nn.Module = nn.Conv2d(student_channels, teacher_channels, kernel_size=1)
        if regressor == "conv_bn_relu":
            self.regressor = nn.Sequential(*conv_bn_relu(student_channels, teacher_channels))

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Maps (B, K, h, w) to a scalar.

        Raises:
            PreceptorError: the maps differ in height or width.
        """
        if student.shape[2:] != teacher.shape[2:]:
            raise PreceptorError(
                f"fitnet: the student's map is {_size(student)}, the teacher's {_size(teacher)}",
                expected="maps of one height and width",
                remedy="choose backbones of the same stride, or a loss that does not compare places, such as sp",
            )
        return functional.mse_loss(self.regressor(student), teacher.detach())


def _size(feature_map: Tensor) -> str:
    return "×".join(str(side) for side in feature_map.shape[2:])


def _example_embeddings(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student, teacher = torch.randn(2, batch, 6, generator=generator)
    return {"student_size": 6, "teacher_size": 6}, {"student": student, "teacher": teacher}


@register_loss(
    "fitnet_embedding",
    feeds={"student": "to.embedding", "teacher": "from.embedding"},
    trains=("student",),
    facts={"student_size": "to.embedding", "teacher_size": "from.embedding"},
    example=_example_embeddings,
)
class EmbeddingFit(nn.Module):
    """Σ_b ‖f_s - f_t‖² / B on the embeddings: the FitNet baseline of CRCKD's authors (Xing et al. 2021, Table 1, as in
    their code, where its weight is 0.1). No regressor, so that both networks need embeddings of one size.

    Args:
        student_size: D of the student; the engine gives both.
        teacher_size: D of the teacher.

    Raises:
        PreceptorError: the sizes differ.

    >>> EmbeddingFit(8, 8)(torch.zeros(2, 8), torch.ones(2, 8)).item()
    8.0
    """

    def __init__(self, student_size: int, teacher_size: int) -> None:
        super().__init__()
        if student_size != teacher_size:
            raise PreceptorError(
                f"fitnet_embedding: the student's embedding has {student_size} entries, the teacher's {teacher_size}",
                expected="embeddings of one size",
                remedy="use the loss fitnet, which learns a regressor",
            )

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Embeddings (B, D) to a scalar."""
        return (student - teacher.detach()).square().sum(dim=1).mean()
