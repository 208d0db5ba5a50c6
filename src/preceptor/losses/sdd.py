"""Scale decoupled distillation: logits of the regions of an image, not of the whole alone."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.adapters import classify, drawn_linear
from preceptor.losses.checks import check_several_classes
from preceptor.losses.divergence import kl_divergence
from preceptor.losses.dkd import check_classes, decoupled
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_choice, check_not_negative, check_positive


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    return {}, {
        "student": torch.randn(batch, 3, 5, 5, generator=generator),
        "teacher": torch.randn(batch, 6, 7, 7, generator=generator),
        "student_classifier": drawn_linear(generator, 3, 4),
        "teacher_classifier": drawn_linear(generator, 6, 4),
        "labels": torch.randint(4, (batch,), generator=generator),
    }


@register_loss(
    "sdd",
    feeds={
        "student": "to.feature_map",
        "teacher": "from.feature_map",
        "student_classifier": "to.classifier",
        "teacher_classifier": "from.classifier",
        "labels": "labels",
    },
    trains=("student", "student_classifier"),
    compares_places=True,
    example=_example,
)
class ScaleDecoupled(nn.Module):
    """Scale decoupled distillation (Wei et al. 2024, eqs. 4 to 9): the mean over images and regions of

        w · T²·KL(p_t ‖ p_s),   or   w · T²·(α·TCKD + β·NCKD)

    of the logits of 1 + 4 + 16 regions, which a network's own linear classifier gives the mean of its last map over
    each. w is 1 where the teacher is right about region and whole image, or wrong about both, and 2 where they differ.

    Args:
        divergence: ``kl``, or ``dkd`` for the decoupled terms (Zhao et al. 2022).
        temperature: T > 0.
        alpha, beta: of ``dkd``.
        whole: what stands for the whole image: ``exact``, the network's own logits, from the mean of the map;
            ``official``, those of the mean of the 4×4 regions, whose windows overlap where 4 does not divide the side.

    Raises:
        PreceptorError: an unknown divergence or whole, or a setting out of range.

    >>> maps, classifier = torch.rand(2, 8, 7, 7), nn.Linear(8, 3)
    >>> loss = ScaleDecoupled()(maps, maps, classifier, classifier, torch.tensor([0, 2]))
    >>> abs(loss.item()) < 1e-6  # a student that agrees
    True
    """

    def __init__(
        self,
        divergence: Literal["kl", "dkd"] = "kl",
        temperature: float = 4.0,
        alpha: float = 1.0,
        beta: float = 8.0,
        whole: Literal["exact", "official"] = "exact",
    ) -> None:
        super().__init__()
        check_choice("divergence", divergence, ("kl", "dkd"))
        check_choice("whole", whole, ("exact", "official"))
        check_positive(temperature=temperature)
        check_not_negative(alpha=alpha, beta=beta)
        self.divergence, self.temperature, self.whole = divergence, temperature, whole
        self.alpha, self.beta = alpha, beta

    @full_precision
    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        student_classifier: nn.Module,
        teacher_classifier: nn.Module,
        labels: Tensor,
    ) -> Tensor:
        """Scalar.

        Args:
            student, teacher: last maps (B, K, h, w) and (B, K', H, W).
            student_classifier, teacher_classifier: linear layers to C classes; the student's learns too.
            labels: (B,) classes.

        Raises:
            PreceptorError: classifiers of one class.
        """
        ours = classify(student_classifier, self._regions(student), frozen=False)
        theirs = classify(teacher_classifier, self._regions(teacher.detach()), frozen=True)
        right = theirs.argmax(dim=2) == labels[:, None]
        weights = torch.where(right == right[:, :1], 1.0, 2.0)
        return self.temperature**2 * (weights * self._divergences(ours.mT, theirs.mT, labels)).mean()

    def _regions(self, feature_map: Tensor) -> Tensor:
        """(B, 21, K): means over the whole, its quarters and its sixteenths."""
        fine = functional.adaptive_avg_pool2d(feature_map, 4)
        whole = feature_map if self.whole == "exact" else fine
        quarters = functional.adaptive_avg_pool2d(fine, 2)
        return torch.cat([whole.mean(dim=(2, 3))[:, :, None], quarters.flatten(2), fine.flatten(2)], dim=2).mT

    def _divergences(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """(B, 21) of logits (B, C, 21)."""
        check_several_classes("sdd", student)
        if self.divergence == "dkd":
            check_classes("sdd", student)
            every = labels[:, None].expand(-1, student.shape[2])
            target, others = decoupled(student, teacher, every, self.temperature)
            return self.alpha * target + self.beta * others
        ours, theirs = ((logits / self.temperature).log_softmax(dim=1) for logits in (student, teacher))
        return kl_divergence(theirs, ours, dim=1)
