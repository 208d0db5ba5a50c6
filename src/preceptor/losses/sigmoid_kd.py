"""Knowledge distillation for several labels per image: each label a prediction of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.checks import check_same_shape
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_positive


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student, teacher = 3 * torch.randn(2, batch, 5, generator=generator)
    return {"temperature": 2.0}, {"student_logits": student, "teacher_logits": teacher}


@register_loss(
    "sigmoid_kd",
    feeds={"student_logits": "to.logits", "teacher_logits": "from.logits"},
    trains=("student_logits",),
    example=_example,
    per_label=True,
)
class SigmoidKD(nn.Module):
    """Multi-label logit distillation (Yang et al. 2023, eq. 3): the binary KL of each label, summed over labels and
    averaged over images,

        T² · mean_b Σ_l KL( (p_t, 1 - p_t) ‖ (p_s, 1 - p_s) ),   p = sigmoid(z / T)

    as p_t·(softplus(-z_s) - softplus(-z_t)) + (1 - p_t)·(softplus(z_s) - softplus(z_t)), which needs no clamp. The
    paper's T is 1, its weight 10. Every label counts, also one that the annotation lacks: the teacher has an opinion on
    it. For masks of one logit the mean is over pixels too.

    Args:
        temperature: T > 0.

    Raises:
        PreceptorError: a temperature that is not positive.

    >>> round(SigmoidKD()(torch.zeros(1, 2), torch.tensor([[0.0, 100.0]])).item(), 4)
    0.6931
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        self.temperature = temperature

    @full_precision
    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Two times logits (B, L), or (B, L, H, W), to a scalar.

        Raises:
            PreceptorError: logits of different shapes.
        """
        check_same_shape("sigmoid_kd", student_logits=student_logits, teacher_logits=teacher_logits)
        ours, theirs = student_logits / self.temperature, teacher_logits.detach() / self.temperature
        present = functional.softplus(-ours) - functional.softplus(-theirs)
        absent = functional.softplus(ours) - functional.softplus(theirs)
        divergence = theirs.sigmoid() * present + (-theirs).sigmoid() * absent
        return self.temperature**2 * divergence.sum(dim=1).mean()
