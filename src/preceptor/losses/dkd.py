"""Decoupled knowledge distillation: the right class and the others, each at a weight of its own."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.checks import check_same_shape, check_several_classes
from preceptor.losses.divergence import kl_divergence
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_not_negative, check_positive
from preceptor.losses.standardise import standardised
from preceptor.utils.errors import PreceptorWarning


def decoupled(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Target-class and non-target-class KL (TCKD, NCKD) of each image, without the factor T².

    All in logarithms: the target's column is dropped, and the others' probability is a logsumexp.

    Args:
        student: logits (B, C, …), C ≥ 2.
        teacher: likewise.
        labels: (B, …) classes.
        temperature: T.

    >>> logits = torch.tensor([[2.0, 1.0, 0.0]])
    >>> decoupled(logits, logits, torch.tensor([0]), 4.0)
    (tensor([0.]), tensor([0.]))
    """
    target = labels.long()[:, None]
    ranks = torch.arange(student.shape[1] - 1, device=student.device).view(1, -1, *[1] * (student.ndim - 2))
    others = ranks + (ranks >= target)  # the classes without the target
    sides = []
    for logits in (student, teacher):
        logs = functional.log_softmax(logits / temperature, dim=1)
        rest = logs.gather(1, others)
        sides.append((torch.cat([logs.gather(1, target), rest.logsumexp(1, keepdim=True)], 1), rest.log_softmax(1)))
    (binary, rest), (teacher_binary, teacher_rest) = sides
    return kl_divergence(teacher_binary, binary, dim=1), kl_divergence(teacher_rest, rest, dim=1)


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student, teacher = 3 * torch.randn(2, batch, 5, generator=generator)
    labels = torch.randint(5, (batch,), generator=generator)
    return {}, {"student_logits": student, "teacher_logits": teacher, "labels": labels}


@register_loss(
    "dkd",
    feeds={"student_logits": "to.logits", "teacher_logits": "from.logits", "labels": "labels"},
    trains=("student_logits",),
    example=_example,
)
class DecoupledKD(nn.Module):
    """Decoupled knowledge distillation (Zhao et al. 2022, eq. 7):

        T² · mean over images of ( α·KL(b_t ‖ b_s) + β·KL(q_t ‖ q_s) )

    for b = (p[y], 1 - p[y]) at temperature T, and q the softmax over the C - 1 other logits. With two classes q is
    constant and α·KD is left, of which it warns. β = 8 is the paper's for CIFAR-100, with a linear warm-up over 20
    epochs; long-tailed data may want less.

    Args:
        alpha: α ≥ 0.
        beta: β ≥ 0.
        temperature: T > 0.
        standardise: whether logits are standardised first (Sun et al. 2024).

    Raises:
        PreceptorError: a setting out of range.

    >>> logits, labels = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0])
    >>> DecoupledKD()(logits, logits, labels).item()
    0.0
    """

    def __init__(
        self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0, standardise: bool = False
    ) -> None:
        super().__init__()
        check_not_negative(alpha=alpha, beta=beta)
        check_positive(temperature=temperature)
        self.alpha, self.beta, self.temperature, self.standardise = alpha, beta, temperature, standardise

    @full_precision
    def forward(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        """Two times logits (B, C) and labels (B,), or (B, C, H, W) and (B, H, W), to a scalar.

        Raises:
            PreceptorError: logits of different shapes, or of one class; fewer than three to standardise.
        """
        check_same_shape("dkd", student_logits=student_logits, teacher_logits=teacher_logits)
        check_classes("dkd", student_logits)
        teacher_logits = teacher_logits.detach()
        if self.standardise:
            student_logits, teacher_logits = (standardised("dkd", z) for z in (student_logits, teacher_logits))
        target, others = decoupled(student_logits, teacher_logits, labels, self.temperature)
        return self.temperature**2 * (self.alpha * target + self.beta * others).mean()


def _example_masks(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student, teacher = 3 * torch.randn(2, batch, 3, 4, 4, generator=generator)
    labels = torch.randint(3, (batch, 4, 4), generator=generator)
    return {}, {"student_logits": student, "teacher_logits": teacher, "labels": labels}


@register_loss(
    "dkd_masks",
    feeds={"student_logits": "to.logits", "teacher_logits": "from.logits", "labels": "masks"},
    trains=("student_logits",),
    example=_example_masks,
)
class MaskDecoupledKD(DecoupledKD):
    """:class:`DecoupledKD` over the pixels of all images (ours; Zhao et al. 2022 have classes of images).

    With background and one foreground class it is α·KD of pixels.

    >>> logits, masks = torch.rand(1, 3, 2, 2), torch.zeros(1, 2, 2).long()
    >>> MaskDecoupledKD()(logits, logits, masks).item()
    0.0
    """


def check_classes(loss: str, logits: Tensor) -> None:
    """Raise if there are no other classes than the target; warn if there is only one."""
    check_several_classes(loss, logits)
    if logits.shape[1] == 2:
        warnings.warn(
            f"{loss}: with 2 classes the non-target part is zero, which leaves alpha times KD", PreceptorWarning, 3
        )
