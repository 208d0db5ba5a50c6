"""Attention transfer: where in the image each stage is active."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.maps import pairs_of_one_size
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_positive


def attention_map(feature_map: Tensor, power: float = 2.0) -> Tensor:
    """Mean over channels of |F|^p at each place, as unit rows: (B, K, h, w) to (B, h·w).

    >>> attention_map(torch.tensor([[[[3.0, 4.0]]]]), power=1.0)
    tensor([[0.6000, 0.8000]])
    """
    return functional.normalize(feature_map.abs().pow(power).mean(dim=1).flatten(1), dim=1)


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    sizes = [((3, 6), (5, 6)), ((4, 3), (6, 2))]  # channels and side of the student's map, and of the teacher's
    student = [torch.randn(batch, k, side, side, generator=generator).relu() for (k, side), _ in sizes]
    teacher = [torch.randn(batch, k, side, side, generator=generator).relu() for _, (k, side) in sizes]
    return {}, {"student": student, "teacher": teacher}


@register_loss(
    "at",
    feeds={"student": "to.features", "teacher": "from.features"},
    trains=("student",),
    features=("stage1", "stage2", "stage3", "stage4"),
    compares_places=True,
    example=_example,
)
class AttentionTransfer(nn.Module):
    """Activation-based attention transfer (Zagoruyko & Komodakis 2017, §3.1), in the form of the authors' code: the sum
    over feature points of the mean over images and places of

        (a(F_s) - a(F_t))²,   a(F) = f / ‖f‖,   f = mean over channels of |F|^p, p = 2

    The text has the unsquared norm instead (eq. 2, weight near 0.1); the weight 1000 belongs to the code's mean of
    squares. Maps of different size are averaged to the smaller one first. The channels need not agree.

    Args:
        power: p > 0.

    Raises:
        PreceptorError: a power that is not positive.

    >>> maps = [torch.rand(2, 8, 4, 4), torch.rand(2, 16, 2, 2)]
    >>> AttentionTransfer()(maps, [3 * feature_map for feature_map in maps]) < 1e-12
    tensor(True)
    """

    def __init__(self, power: float = 2.0) -> None:
        super().__init__()
        check_positive(power=power)
        self.power = power

    @full_precision
    def forward(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """Maps (B, K, h, w) of each feature point, of either network, to a scalar.

        Raises:
            PreceptorError: points that are no maps, or not as many of either network.
        """
        terms = [
            functional.mse_loss(attention_map(ours, self.power), attention_map(theirs, self.power))
            for ours, theirs in pairs_of_one_size("at", student, teacher)
        ]
        return torch.stack(terms).sum()
