"""Variational information distillation: how well the student's features predict the teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from math import expm1, log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.maps import check_as_many_points, check_points, pairs_of_one_size
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_positive

_LEAST = 1e-5  # variance


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student = [torch.randn(batch, k, 4, 4, generator=generator).relu() for k in (3, 4)]
    teacher = [torch.randn(batch, k, side, side, generator=generator).relu() for k, side in ((5, 4), (6, 2))]
    return {"student_channels": (3, 4), "teacher_channels": (5, 6)}, {"student": student, "teacher": teacher}


@register_loss(
    "vid",
    feeds={"student": "to.features", "teacher": "from.features"},
    trains=("student",),
    facts={"student_channels": "to.feature_channels", "teacher_channels": "from.feature_channels"},
    features=("stage1", "stage2", "stage3", "stage4"),
    compares_places=True,
    example=_example,
)
class VariationalInformation(nn.Module):
    """Variational information distillation (Ahn et al. 2019, eqs. 5 and 6): the sum over feature points of the mean
    over images, channels k and places of

        ½·( (t - μ(s))² / σ_k² + log σ_k² ),   σ_k² = softplus(ρ_k) + 10⁻⁵

    the negative log-likelihood of the teacher's features without its constant ½·log 2π, so that it may be negative.
    The mean μ is learned (three 1×1 convolutions without bias, ReLU between them), as is ρ. Maps of different size are
    averaged to the smaller one first.

    Args:
        student_channels: K of each of the student's feature points; the engine gives both.
        teacher_channels: K of each of the teacher's.
        variance: σ² at the start, above 10⁻⁵.

    Raises:
        PreceptorError: not as many feature points of either network, or a variance that is not positive.

    >>> loss = VariationalInformation((8,), (16,))
    >>> loss([torch.rand(2, 8, 4, 4)], [torch.rand(2, 16, 4, 4)]).shape
    torch.Size([])
    """

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int], variance: float = 5.0) -> None:
        super().__init__()
        check_as_many_points("vid", student_channels, teacher_channels)
        check_positive(variance=variance - _LEAST)
        self.student_channels, self.teacher_channels = tuple(student_channels), tuple(teacher_channels)
        pairs = list(zip(student_channels, teacher_channels, strict=True))
        self.means = nn.ModuleList(_regressor(ours, theirs) for ours, theirs in pairs)
        start = log(expm1(variance - _LEAST))  # softplus of it is the variance
        self.scales = nn.ParameterList(torch.full((theirs,), start) for _, theirs in pairs)

    @full_precision
    def forward(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """Maps (B, K, h, w) of each feature point, of either network, to a scalar.

        Raises:
            PreceptorError: points that are no maps, or not those that the loss was built for.
        """
        check_points("vid", "student", student, self.student_channels)
        check_points("vid", "teacher", teacher, self.teacher_channels)
        terms = []
        pairs = pairs_of_one_size("vid", student, teacher)
        for (ours, theirs), mean, scale in zip(pairs, self.means, self.scales, strict=True):
            variance = (functional.softplus(scale) + _LEAST)[:, None, None]
            terms.append(((theirs - mean(ours)).square() / variance + variance.log()).mean() / 2)
        return torch.stack(terms).sum()


def _regressor(student_channels: int, teacher_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(student_channels, teacher_channels, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(teacher_channels, teacher_channels, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(teacher_channels, teacher_channels, 1, bias=False),
    )
