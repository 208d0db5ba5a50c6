"""Correlation congruence: how images of a batch go together in an embedding of their own."""

from __future__ import annotations

from math import exp, factorial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_choice, check_positive

_EPSILON = 1e-20  # keeps the slope of the root finite where the matrices agree

Variant = Literal["gaussian", "bilinear", "neighbours"]


def correlation(embeddings: Tensor, gamma: float = 0.4, order: int = 2) -> Tensor:
    """The Gaussian kernel between unit rows, expanded to an order: (B, d) to (B, B).

        e^(-2γ) Σ_{p ≤ P} (2γ)^p / p! · (e·e')^p

    >>> correlation(torch.eye(2), order=1).diagonal()
    tensor([0.8088, 0.8088])
    """
    products = embeddings @ embeddings.T
    terms = [(2 * gamma) ** power / factorial(power) * products.pow(power) for power in range(order + 1)]
    return exp(-2 * gamma) * torch.stack(terms).sum(dim=0)


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student, teacher = (torch.randn(batch, size, generator=generator) for size in (5, 8))
    return {"student_size": 5, "teacher_size": 8}, {"student": student, "teacher": teacher}


@register_loss(
    "cc",
    feeds={"student": "to.embedding", "teacher": "from.embedding"},
    trains=("student",),
    facts={"student_size": "to.embedding", "teacher_size": "from.embedding"},
    relates_images=True,
    example=_example,
)
class CorrelationCongruence(nn.Module):
    """Correlation congruence (Peng et al. 2019, eqs. 3 to 7): ‖K_s - K_t‖_F / B², unsquared as in torchdistill, for the
    matrices K of a kernel between the batch's embeddings e = Linear(f).

    The student's linear layer is learned. The teacher's is random and fixed: were both learned, both could shrink to
    zero.

    Args:
        student_size: D of the student's embedding; the engine gives both.
        teacher_size: D of the teacher's.
        size: d of e.
        variant: ``gaussian``: :func:`correlation` of unit rows e; ``bilinear``: K = e·e'; ``neighbours``: not the
            paper's loss but what RepDistiller calls by its name, the mean over i < B-1 of Σ_d |e_s - e_t|_i·|e_s -
            e_t|_{i+1}, which depends on the order of the batch (weight 0.02 there; 0.003 for ``gaussian``).
        gamma: γ of the Gaussian kernel.
        order: P, at which its series ends.
        normalise: whether the Gaussian kernel takes rows e of unit length, for which alone its expansion holds.

    Raises:
        PreceptorError: an unknown variant, or a size, γ or order that is not positive.

    >>> loss = CorrelationCongruence(8, 16)
    >>> loss(torch.rand(4, 8), torch.rand(4, 16)) > 0
    tensor(True)
    """

    teacher_weight: Tensor
    teacher_bias: Tensor

    def __init__(
        self,
        student_size: int,
        teacher_size: int,
        size: int = 128,
        variant: Variant = "gaussian",
        gamma: float = 0.4,
        order: int = 2,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        check_choice("variant", variant, ("gaussian", "bilinear", "neighbours"))
        check_positive(size=size, gamma=gamma, order=order)
        self.variant, self.gamma, self.order, self.normalise = variant, gamma, order, normalise
        self.student_head = nn.Linear(student_size, size)
        fixed = nn.Linear(teacher_size, size)
        self.register_buffer("teacher_weight", fixed.weight.detach())
        self.register_buffer("teacher_bias", fixed.bias.detach())

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Embeddings (B, D) and (B, D') to a scalar."""
        ours = self.student_head(student)
        theirs = functional.linear(teacher.detach(), self.teacher_weight, self.teacher_bias)
        if self.variant == "neighbours":
            apart = (ours - theirs).abs()
            return (apart[:-1] * apart[1:]).sum() / max(len(apart) - 1, 1)
        difference = self._kernel(ours) - self._kernel(theirs)
        return (difference.square().sum() + _EPSILON).sqrt() / len(student) ** 2

    def _kernel(self, rows: Tensor) -> Tensor:
        if self.variant == "bilinear":
            return rows @ rows.T
        rows = functional.normalize(rows, dim=1) if self.normalise else rows
        return correlation(rows, self.gamma, self.order)
