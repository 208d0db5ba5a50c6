"""PHI-S: teachers' embeddings brought to one scale, so that several weigh alike in one student."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_positive


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student, teacher = (torch.randn(batch, size, generator=generator) for size in (5, 8))
    return {"student_size": 5, "teacher_size": 8}, {"student": student, "teacher": teacher}


@register_loss(
    "phi_s",
    feeds={"student": "to.embedding", "teacher": "from.embedding"},
    trains=("student",),
    facts={"student_size": "to.embedding", "teacher_size": "from.embedding"},
    relates_images=True,  # the scale is estimated from whole batches
    example=_example,
)
class PhiS(nn.Module):
    """MSE(head(s), t - μ) / λ̄ of embeddings, which is the mean squared error under PHI-S (Ranzinger et al. 2024, §3).

    PHI-S rotates the teacher's features to entries of equal variance and divides them by √λ̄, λ̄ = tr Σ / D. A rotation
    leaves the squared error as it is, and the linear head takes it up: what remains is the division, by which the
    losses of several teachers compare. μ and λ̄ are estimated from the first ``sample`` images of training, then kept.
    ``phi_standardisation`` is the whole transform, for losses other than the squared error.

    Args:
        student_size: D of the student's embedding; the engine gives both.
        teacher_size: D of the teacher's.
        sample: images from which μ and λ̄ are estimated.

    Raises:
        PreceptorError: a sample that is not positive.

    >>> PhiS(8, 16)(torch.rand(4, 8), torch.rand(4, 16)).shape
    torch.Size([])
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self, student_size: int, teacher_size: int, sample: int = 10000) -> None:
        super().__init__()
        check_positive(sample=sample)
        self.head = nn.Linear(student_size, teacher_size)
        self.sample = sample
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_buffer("mean", torch.zeros(teacher_size, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(teacher_size, dtype=torch.float64))

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Embeddings (B, D) and (B, D') to a scalar."""
        teacher = teacher.detach()
        if self.training:
            self._observe(teacher.double())
        variance = self.squares.mean() / (self.count - 1).clamp(min=1)
        scale = torch.where(variance > 0, variance, 1).to(teacher.dtype)
        return functional.mse_loss(self.head(student), teacher - self.mean.to(teacher.dtype)) / scale

    def _observe(self, rows: Tensor) -> None:
        """Merge a batch into count, mean and sum of squared deviations, unless the sample is complete."""
        open_ = self.count < self.sample
        total = self.count + len(rows)
        difference = rows.mean(dim=0) - self.mean
        squares = (rows - rows.mean(dim=0)).square().sum(dim=0) + difference.square() * self.count * len(rows) / total
        self.mean += torch.where(open_, difference * len(rows) / total, 0)
        self.squares += torch.where(open_, squares, 0)
        self.count += torch.where(open_, len(rows), 0)
