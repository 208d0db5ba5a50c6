"""DIST: the student ranks classes, and images, as the teacher does."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.losses.checks import check_same_shape, check_several_classes
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_not_negative, check_positive
from preceptor.utils.errors import PreceptorWarning

_EPSILON = 1e-8


def pearson(first: Tensor, second: Tensor) -> Tensor:
    """Correlation of the rows of two matrices, (R, n) to (R,); ε = 10⁻⁸ is added to the product of their norms.

    A row that is constant but for rounding has the correlation 0 and no gradient; the quotient's would be 1/ε there.

    >>> pearson(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2.0, 4.0, 6.0]])).round(decimals=4)
    tensor([1.])
    """
    (first, first_norms, first_varies), (second, second_norms, second_varies) = map(_centred, (first, second))
    varies = first_varies & second_varies
    norms = torch.where(varies, first_norms * second_norms, 1)
    return torch.where(varies, (first * second).sum(dim=1) / (norms + _EPSILON), 0)


def _centred(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows less their mean, their norms, and which of them vary by more than rounding."""
    centred = rows - rows.mean(dim=1, keepdim=True)
    norms = torch.linalg.vector_norm(centred, dim=1)
    rounding = 4 * torch.finfo(rows.dtype).eps * torch.linalg.vector_norm(rows.detach(), dim=1)
    return centred, norms, norms.detach() > rounding


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student, teacher = 2 * torch.randn(2, batch, 5, generator=generator)
    return {"temperature": 2.0}, {"student_logits": student, "teacher_logits": teacher}


@register_loss(
    "dist",
    feeds={"student_logits": "to.logits", "teacher_logits": "from.logits"},
    trains=("student_logits",),
    relates_images=True,
    example=_example,
)
class RelationMatching(nn.Module):
    """Knowledge distillation from a stronger teacher (Huang et al. 2022, eqs. 8 to 11), for probabilities p at
    temperature τ and Pearson's correlation ρ:

        τ² · ( β·(1 - mean_b ρ(p_s[b, :], p_t[b, :])) + γ·(1 - mean_c ρ(p_s[:, c], p_t[:, c])) )

    over images b and classes c. Of maps every pixel is an image. A class that is constant over the batch has ρ = 0.
    With two classes the first part has no gradient, of which it warns unless β = 0. In the released settings the loss
    has the weight 2.

    Args:
        beta: β ≥ 0, of the classes within an image.
        gamma: γ ≥ 0, of the images within a class.
        temperature: τ > 0; 1 for ImageNet in the paper, 4 for CIFAR-100.

    Raises:
        PreceptorError: a setting out of range.

    >>> logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    >>> round(RelationMatching()(logits, logits).item(), 4)
    0.0
    """

    def __init__(self, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__()
        check_not_negative(beta=beta, gamma=gamma)
        check_positive(temperature=temperature)
        self.beta, self.gamma, self.temperature = beta, gamma, temperature

    @full_precision
    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Two times logits (B, C), or (B, C, H, W), to a scalar.

        Raises:
            PreceptorError: logits of different shapes, or of one class.
        """
        check_same_shape("dist", student_logits=student_logits, teacher_logits=teacher_logits)
        check_several_classes("dist", student_logits)
        if student_logits.shape[1] == 2 and self.beta:
            warnings.warn(
                "dist: with 2 classes the part within images has no gradient; set beta=0", PreceptorWarning, 2
            )
        ours, theirs = (
            (logits / self.temperature).softmax(dim=1).movedim(1, -1).flatten(0, -2)
            for logits in (student_logits, teacher_logits.detach())
        )
        inter, intra = 1 - pearson(ours, theirs).mean(), 1 - pearson(ours.T, theirs.T).mean()
        return self.temperature**2 * (self.beta * inter + self.gamma * intra)
