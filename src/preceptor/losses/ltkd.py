"""Long-tailed knowledge distillation: frequent and rare classes as groups, between and within which one distils."""

from __future__ import annotations

from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.checks import check_class_counts, check_same_shape, check_several_classes
from preceptor.losses.class_groups import frequency_groups
from preceptor.losses.divergence import kl_divergence
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_below_one, check_not_negative, check_positive

_ENOUGH = 64  # images: the mean over so many needs no memory of earlier batches


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student, teacher = 3 * torch.randn(2, batch, 7, generator=generator)
    facts = {"class_counts": torch.tensor([5, 100, 40, 1, 60, 20, 10])}
    return facts, {"student_logits": student, "teacher_logits": teacher}


@register_loss(
    "ltkd",
    feeds={"student_logits": "to.logits", "teacher_logits": "from.logits"},
    trains=("student_logits",),
    facts={"class_counts": "class_counts"},
    relates_images=True,
    example=_example,
)
class LongTailedKD(nn.Module):
    """Long-tailed knowledge distillation (Kim 2026), written from a summary of the paper. Classes form groups by their
    frequency; p_G is the probability of a group, q_G the probabilities within it:

        T² · mean over images of ( α·KL(p̂ ‖ p_s over groups) + β·Σ_G KL(q_G of the teacher ‖ q_G of the student) )

    p̂ ∝ p_G / S_G is the teacher's, rebalanced by S_G, what the batch gives the group in sum, so that the teacher's bias
    towards frequent classes is not taught. Within groups the teacher's p_G is left out as a weight for the same reason.
    α, β and T are ours: the paper's values are not known to us.

    Of fewer than 64 images S_G is uncertain; then the running mean over all batches, S ← decay·S + (1 - decay)·S of the
    batch, takes its place, kept in the state.

    Args:
        class_counts: (C,) training images of each class; the engine gives it.
        alpha, beta: α and β ≥ 0.
        temperature: T > 0.
        decay: of the running mean, in [0, 1); 0 for the batch alone.

    Raises:
        PreceptorError: a setting out of range.

    >>> loss = LongTailedKD(torch.tensor([90, 9, 1]))
    >>> loss(torch.zeros(2, 3), torch.zeros(2, 3)).item()
    0.0
    """

    order: Tensor
    log_shares: Tensor

    def __init__(
        self, class_counts: Tensor, alpha: float = 1.0, beta: float = 1.0, temperature: float = 4.0, decay: float = 0.9
    ) -> None:
        super().__init__()
        check_not_negative(alpha=alpha, beta=beta)
        check_positive(temperature=temperature)
        check_below_one(decay=decay)
        self.alpha, self.beta, self.temperature, self.decay = alpha, beta, temperature, decay
        groups = frequency_groups(torch.as_tensor(class_counts))
        self.sizes = [len(group) for group in groups]
        self.register_buffer("order", torch.cat(groups), persistent=False)
        self.register_buffer("log_shares", torch.full((len(groups),), torch.nan))

    @full_precision
    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Two times logits (B, C) to a scalar.

        Raises:
            PreceptorError: logits of other classes than those that were counted.
        """
        check_same_shape("ltkd", student_logits=student_logits, teacher_logits=teacher_logits)
        check_class_counts("ltkd", student_logits, self.order)
        check_several_classes("ltkd", student_logits)
        ours, theirs = (
            functional.log_softmax(logits / self.temperature, dim=1)[:, self.order].split(self.sizes, dim=1)
            for logits in (student_logits, teacher_logits.detach())
        )
        groups, teacher_groups = (
            torch.stack([logs.logsumexp(dim=1) for logs in parts], dim=1) for parts in (ours, theirs)
        )
        balanced = (teacher_groups - self._shares(teacher_groups)).log_softmax(dim=1)
        loss = self.alpha * kl_divergence(balanced, groups, dim=1)
        for student, teacher in zip(ours, theirs, strict=True):
            loss = loss + self.beta * kl_divergence(teacher.log_softmax(dim=1), student.log_softmax(dim=1), dim=1)
        return self.temperature**2 * loss.mean()

    def _shares(self, groups: Tensor) -> Tensor:
        """(G,) log of each group's mean probability, over the batch or over batches."""
        batch = groups.logsumexp(dim=0) - log(len(groups))
        if not self.decay:
            return batch
        mean = self.log_shares.to(batch.dtype)
        if self.training:  # full batches tell the most, so that they count in the mean that a small one is given
            moved = torch.logaddexp(mean + log(self.decay), batch + log(1 - self.decay))
            mean = torch.where(mean.isnan(), batch, moved)
            self.log_shares.copy_(mean)
        if len(groups) >= _ENOUGH:
            return batch
        return torch.where(mean.isnan(), batch, mean)
