"""Knowledge distillation on the predictions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.checks import check_same_shape, check_several_classes
from preceptor.losses.divergence import kl_divergence
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_positive
from preceptor.losses.standardise import standardised


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student, teacher = 3 * torch.randn(2, batch, 7, generator=generator)
    return {"temperature": 4.0}, {"student_logits": student, "teacher_logits": teacher}


@register_loss(
    "kl",
    feeds={"student_logits": "to.logits", "teacher_logits": "from.logits"},
    trains=("student_logits",),
    example=_example,
)
class KLDivergence(nn.Module):
    """T²·KL(p_t^T ‖ p_s^T), p^T = softmax(logits / T), averaged over the batch (Hinton et al. 2015, §2; SSD-KD, Wang
    et al. 2022, eq. 4; with T = 1 it is L_KL of CRCKD, Xing et al. 2021, eq. 6).

    The factor T² keeps the size of the gradient when T changes, so that a weight keeps its meaning.

    Args:
        temperature: T > 0.
        standardise: whether either network's logits are standardised over the classes first (Sun et al. 2024), so that
            their size is not distilled; T = 2 and a weight of 9 there.

    Raises:
        PreceptorError: a temperature that is not positive.

    >>> loss = KLDivergence(temperature=4.0)
    >>> loss(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[5.0, 4.0, 3.0]])).item()
    0.0
    """

    def __init__(self, temperature: float = 1.0, standardise: bool = False) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.temperature, self.standardise = temperature, standardise

    @full_precision
    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Two times logits (B, C) to a scalar; over maps (B, C, H, W) the mean is over the pixels too.

        Raises:
            PreceptorError: logits of different shapes or of one class, or fewer than three classes to standardise.
        """
        check_same_shape("kl", student_logits=student_logits, teacher_logits=teacher_logits)
        check_several_classes("kl", student_logits)
        teacher_logits = teacher_logits.detach()
        if self.standardise:
            student_logits, teacher_logits = (standardised("kl", z) for z in (student_logits, teacher_logits))
        student = functional.log_softmax(student_logits / self.temperature, dim=1)
        teacher = functional.log_softmax(teacher_logits / self.temperature, dim=1)
        return self.temperature**2 * kl_divergence(teacher, student, dim=1).mean()
