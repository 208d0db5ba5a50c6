"""Multi-level logit distillation: predictions of single images, of the batch, and of the classes over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from preceptor.losses.checks import check_several_classes
from preceptor.losses.divergence import kl_divergence
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_choice, check_positive
from preceptor.utils.errors import PreceptorError


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student, teacher = 3 * torch.randn(2, 2 * batch, 5, generator=generator)
    return {}, {"student_logits": student, "teacher_logits": teacher, "views": 2}


@register_loss(
    "mlld",
    feeds={"student_logits": "to.logits", "teacher_logits": "from.logits", "views": "views"},
    trains=("student_logits",),
    relates_images=True,
    example=_example,
)
class MultiLevelLogits(nn.Module):
    """Multi-level logit distillation (Jin et al. 2023, eqs. 3 to 8). Of two views of each image, weak and strong, and
    for each temperature T of a list, with P the B×C probabilities,

        KD = T²·KL(p_t ‖ p_s)      BC = ‖P_t·P_tᵀ - P_s·P_sᵀ‖² / B      CC = ‖P_tᵀ·P_t - P_sᵀ·P_s‖² / C

    Of the weak view, images (and classes, by the sum of their probabilities) above the teacher's median confidence are
    left out. Both variants are sums over temperatures, without cross-entropy:

    ``official``: the released code, which takes the mean over images before the mask, so that the mask only scales the
    weak terms, by the share m of images (m_c of classes) up to the median. KD of the strong view takes the *weak*
    logits at the last two temperatures; BC and CC are of the weak view alone.

        m·Σ_T KD(weak) + Σ_{first three} KD(strong) + Σ_{last two} KD(weak) + m_c·Σ_T CC(weak) + m·Σ_T BC(weak)

    ``text``: the intention. KD, BC and CC of either view at every temperature; of the weak view KD and the rows of BC
    count for images up to the median, the rows of CC for classes up to it; the divisors stay B and C.

    Args:
        variant: ``official`` or ``text``.
        temperatures: five in the paper's order; the first is the configured one there (1 for ImageNet).

    Raises:
        PreceptorError: an unknown variant, or temperatures that are not five positive numbers.

    >>> logits = torch.randn(8, 5)
    >>> MultiLevelLogits()(logits, logits, views=2).item()
    0.0
    """

    def __init__(
        self,
        variant: Literal["official", "text"] = "official",
        temperatures: Sequence[float] = (4.0, 3.0, 5.0, 2.0, 6.0),
    ) -> None:
        super().__init__()
        check_choice("variant", variant, ("official", "text"))
        check_positive(**{f"temperatures[{index}]": value for index, value in enumerate(temperatures)})
        if len(temperatures) != 5:
            raise PreceptorError(f"temperatures: {list(temperatures)}", expected="five of them")
        self.variant, self.temperatures = variant, tuple(temperatures)

    @full_precision
    def forward(self, student_logits: Tensor, teacher_logits: Tensor, views: int) -> Tensor:
        """Scalar.

        Args:
            student_logits, teacher_logits: (2B, C), the weak views of all images, then the strong ones.
            views: 2.

        Raises:
            PreceptorError: other than two views of each image, or logits of one class.
        """
        check_several_classes("mlld", student_logits)
        if views != 2 or len(student_logits) % 2:
            raise PreceptorError(
                f"mlld: {len(student_logits)} rows in {views} views", expected="two views of each image"
            )
        weak, strong = zip(student_logits.chunk(2), teacher_logits.detach().chunk(2), strict=True)
        confidences = weak[1].softmax(dim=1)
        images, classes = _up_to_median(confidences.max(dim=1).values), _up_to_median(confidences.sum(dim=0))
        if self.variant == "text":
            terms = [
                term
                for temperature in self.temperatures
                for term in (*_terms(*weak, temperature, images, classes), *_terms(*strong, temperature))
            ]
            return torch.stack(terms).sum()
        total = student_logits.new_zeros(())
        for index, temperature in enumerate(self.temperatures):
            kd, bc, cc = _terms(*weak, temperature)
            strong_kd = _terms(*strong, temperature)[0] if index < 3 else kd
            total = total + images.mean() * (kd + bc) + classes.mean() * cc + strong_kd
        return total


def _up_to_median(values: Tensor) -> Tensor:
    """1 where a value is at most the median, else 0."""
    ordered = values.sort().values  # quantile() would wait for the device
    median = (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
    return (values <= median).to(values.dtype)


def _terms(
    student: Tensor, teacher: Tensor, temperature: float, images: Tensor | float = 1.0, classes: Tensor | float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """KD, BC and CC, of the images and classes that count (1; those that do not 0)."""
    ours, theirs = ((logits / temperature).log_softmax(dim=1) for logits in (student, teacher))
    kd = temperature**2 * (kl_divergence(theirs, ours, dim=1) * images).mean()
    ours, theirs = ours.exp(), theirs.exp()
    bc = ((theirs @ theirs.T - ours @ ours.T).square().sum(dim=1) * images).mean()
    cc = ((theirs.T @ theirs - ours.T @ ours).square().sum(dim=1) * classes).mean()
    return kd, bc, cc
