"""Double similarity distillation, by category: how the classes of a mask overlap."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_positive
from preceptor.utils.errors import PreceptorError


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student, teacher = 8 * torch.randn(2, batch, 3, 5, 6, generator=generator)
    return {}, {"student": student, "teacher": teacher}


@register_loss(
    "dsd_channel",
    feeds={"student": "to.logits", "teacher": "from.logits"},
    trains=("student",),
    example=_example,
)
class CategorySimilarity(nn.Module):
    """Category-wise similarity distillation, CSD (Feng et al. 2021, as CIRKD re-implements it):

        L = mean_{b,c,c'} (M_s - M_t)²,   M = P·Pᵀ,   P[c] = softmax over places of pool(logits)[c] / τ

    with τ = 4 and averages over windows of 2×2. Weight 10. Entries of M are near 1/(h·w), so that the loss falls with
    the square of the map's area.

    Args:
        temperature: τ > 0.

    Raises:
        PreceptorError: a temperature that is not positive.

    >>> logits = torch.randn(2, 3, 32, 32)
    >>> CategorySimilarity()(logits, logits).item()
    0.0
    """

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.temperature = temperature

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Logits (B, C, H, W) of both networks, C ≥ 2, to a scalar.

        Raises:
            PreceptorError: logits that are no maps, or of one class, whose matrix has a single entry.
        """
        if student.ndim != 4 or student.shape[1] < 2:
            raise PreceptorError(
                f"dsd_channel: logits of shape {tuple(student.shape)}", expected="maps of two classes or more"
            )
        return functional.mse_loss(self._overlap(student), self._overlap(teacher.detach()))

    def _overlap(self, logits: Tensor) -> Tensor:
        pooled = functional.avg_pool2d(logits, 2, ceil_mode=True)
        places = (pooled.flatten(2) / self.temperature).softmax(2)
        return places @ places.mT
