"""Focal loss: cross-entropy that weighs well-classified examples down."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.checks import check_several_classes, loss_name
from preceptor.losses.cross_entropy import class_weight, fitting
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.utils.errors import PreceptorError


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    logits = 3 * torch.randn(batch, 5, generator=generator)
    settings = {"class_weights": "inverse_frequency", "class_counts": torch.tensor([70, 9, 30, 4, 1])}
    return settings, {"logits": logits, "labels": torch.randint(5, (batch,), generator=generator)}


def _example_masks(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    logits = 3 * torch.randn(batch, 3, 4, 4, generator=generator)
    settings = {"class_weights": [0.5, 1.0, 2.0]}
    return settings, {"logits": logits, "labels": torch.randint(3, (batch, 4, 4), generator=generator)}


@register_loss(
    "focal_masks",
    feeds={"logits": "to.logits", "labels": "masks"},
    trains=("logits",),
    example=_example_masks,
)
class Focal(nn.Module):
    """Focal loss over the softmax of C classes, averaged over images (and pixels), N in all:

        L = 1/N Σ_i w[y_i]·(1 - p_i[y_i])^γ·(-log p_i[y_i])

    (Lin et al. 2017, eq. 5, in the form for several classes; γ = 2 as there and in Niyaz et al. 2024, eq. 8). The
    weights are not in the divisor, so that every image counts for itself: a common factor of them scales the loss.

    Registered as ``focal_masks``, against masks, and as ``focal``, against labels.

    Args:
        gamma: γ, zero (which is cross-entropy) or at least one: between them the gradient is infinite where p is one.
        class_weights: ``none``, or one positive weight for each class.

    Raises:
        PreceptorError: a γ out of range, or a weight that is not positive and finite.

    >>> round(Focal(gamma=2.0)(torch.zeros(1, 2), torch.tensor([1])).item(), 4)  # ¼·log 2
    0.1733
    """

    weight: Tensor | None

    def __init__(self, gamma: float = 2.0, class_weights: Literal["none"] | list[float] = "none") -> None:
        super().__init__()
        if not (gamma == 0 or 1 <= gamma < float("inf")):
            raise PreceptorError(f"gamma: {gamma}", expected="0, or a number that is at least 1")
        self.gamma = gamma
        self.register_buffer("weight", class_weight(class_weights, None))

    @full_precision
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, C) and labels (B,) of whole numbers, or (B, C, H, W) and (B, H, W), to a scalar.

        Raises:
            PreceptorError: logits of one class, or of other classes than there are weights for.
        """
        check_several_classes(loss_name(self), logits)
        surprise = functional.cross_entropy(logits, labels.long(), reduction="none")
        loss = (-torch.expm1(-surprise)).pow(self.gamma) * surprise  # 1 - p without cancellation
        if self.weight is not None:
            loss = loss * fitting(self.weight, logits)[labels.long()]
        return loss.mean()


@register_loss(
    "focal",
    feeds={"logits": "to.logits", "labels": "labels"},
    trains=("logits",),
    facts={"class_counts": "class_counts"},
    example=_example,
)
class LabelFocal(Focal):
    """:class:`Focal` against labels (Lin et al. 2017), whose class weights may come from the training part.

    Args:
        gamma: γ, as there.
        class_weights: ``none``; ``inverse_frequency`` (of ``class_counts``); or one positive weight for each class.
        class_counts: (C,) training images of each class; the engine gives it.

    Raises:
        PreceptorError: as there; more or fewer weights than classes; a class without training images under
            ``inverse_frequency``.

    >>> loss = LabelFocal(class_weights="inverse_frequency", class_counts=torch.tensor([90, 10]))
    >>> round(loss(torch.zeros(1, 2), torch.tensor([1])).item(), 4)  # 5 times as much
    0.8664
    """

    def __init__(
        self,
        gamma: float = 2.0,
        class_weights: Literal["none", "inverse_frequency"] | list[float] = "none",
        class_counts: Tensor | None = None,
    ) -> None:
        super().__init__(gamma)
        self.weight = class_weight(class_weights, class_counts)
