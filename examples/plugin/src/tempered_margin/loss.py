"""The margin between a teacher's two most likely classes, as a target for the student's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses import full_precision, register_loss


def example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of ``__init__`` and of ``forward``, for ``preceptor.testing.check_loss``."""
    student, teacher = torch.randn(2, batch, 5, generator=generator)
    return {}, {"student_logits": student, "teacher_logits": teacher}


@register_loss(
    "tempered_margin",
    feeds={"student_logits": "to.logits", "teacher_logits": "from.logits"},
    trains=("student_logits",),
    example=example,
)
class TemperedMargin(nn.Module):
    """Smooth L1 distance of the margins (z_a - z_b)/T, where a and b are the teacher's two most likely classes (an
    example, 2026; no paper has it).

    Args:
        temperature: T > 0.
    """

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        self.temperature = temperature

    @full_precision
    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Logits (B, C) of both networks, C ≥ 2, to a scalar."""
        target, classes = teacher_logits.detach().topk(2, dim=1)
        margins = [(pair[:, 0] - pair[:, 1]) / self.temperature for pair in (student_logits.gather(1, classes), target)]
        return functional.smooth_l1_loss(*margins)
