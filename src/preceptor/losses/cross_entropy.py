"""Cross-entropy against the labels, weighted against a long tail where asked."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.checks import check_several_classes, loss_name
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_below_one
from preceptor.utils.errors import PreceptorError, some_of


def inverse_frequency(class_counts: Tensor) -> Tensor:
    """Class weights ∝ 1/n_c (Xing et al. 2021), scaled to one on a balanced set: N / (C·n_c), float32 (C,).

    Raises:
        PreceptorError: a class has no image, so that its weight would be infinite.
    """
    empty = [index for index, count in enumerate(class_counts.tolist()) if count <= 0]
    if empty:
        raise PreceptorError(
            f"class_weights: inverse_frequency is undefined for classes without training images: {some_of(empty)}",
            expected="at least one image of every class in the training part",
            remedy="leave these classes out of the data, use fewer folds, or set class_weights=none",
        )
    counts = class_counts.double()
    return (counts.sum() / (counts.numel() * counts)).float()


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    logits = torch.randn(batch, 5, generator=generator)
    labels = torch.randint(5, (batch,), generator=generator)
    settings = {"class_weights": "inverse_frequency", "class_counts": torch.tensor([70, 9, 30, 4, 1])}
    return settings, {"logits": logits, "labels": labels}


@register_loss(
    "cross_entropy",
    feeds={"logits": "to.logits", "labels": "labels"},
    trains=("logits",),
    facts={"class_counts": "class_counts"},
    relates_images=True,  # the divisor is the sum of the whole batch's weights
    example=_example,
)
class CrossEntropy(nn.Module):
    """Weighted cross-entropy, L_WCE of CRCKD (Xing et al. 2021, eq. 6):

        L = Σ_b w[y_b]·(-log p_b[y_b]) / Σ_b w[y_b]

    With smoothing ε (Szegedy et al. 2016, §7) the loss is (1-ε)·L + (ε/C)·Σ_b Σ_c w[c]·(-log p_b[c]) / Σ_b w[y_b].

    Args:
        class_weights: ``none``; ``inverse_frequency`` (of ``class_counts``); or one positive weight for each class.
            A common factor cancels.
        label_smoothing: ε in [0, 1).
        class_counts: (C,) training images of each class; the engine gives it.

    Raises:
        PreceptorError: a weight that is not positive and finite, more or fewer weights than classes, an ε out of
            range, or a class without training images under ``inverse_frequency``.

    >>> loss = CrossEntropy("inverse_frequency", class_counts=torch.tensor([90, 10]))
    >>> round(loss(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1])).item(), 4)
    0.6365
    """

    weight: Tensor | None

    def __init__(
        self,
        class_weights: Literal["none", "inverse_frequency"] | list[float] = "none",
        label_smoothing: float = 0.0,
        class_counts: Tensor | None = None,
    ) -> None:
        super().__init__()
        check_below_one(label_smoothing=label_smoothing)
        self.label_smoothing = label_smoothing
        self.register_buffer("weight", class_weight(class_weights, class_counts))

    @full_precision
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (B, C) and labels (B,) of whole numbers, or (B, C, H, W) and (B, H, W), to a scalar.

        Raises:
            PreceptorError: logits of one class, or of other classes than there are weights for.
        """
        check_several_classes(loss_name(self), logits)
        weight = None if self.weight is None else fitting(self.weight, logits)
        return functional.cross_entropy(logits, labels.long(), weight, label_smoothing=self.label_smoothing)


def _example_masks(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    logits = torch.randn(batch, 3, 4, 4, generator=generator)
    return {"class_weights": [0.5, 1.0, 2.0]}, {
        "logits": logits,
        "labels": torch.randint(3, (batch, 4, 4), generator=generator),
    }


@register_loss(
    "cross_entropy_masks",
    feeds={"logits": "to.logits", "labels": "masks"},
    trains=("logits",),
    relates_images=True,
    example=_example_masks,
)
class MaskCrossEntropy(CrossEntropy):
    """:class:`CrossEntropy` over the pixels of all images against masks (Ronneberger et al. 2015, eq. 1).

    Args:
        class_weights: ``none``, or one positive weight for each class, the background first.
        label_smoothing: ε in [0, 1).

    Raises:
        PreceptorError: as there.

    >>> round(MaskCrossEntropy()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4).long()).item(), 4)
    0.6931
    """

    def __init__(self, class_weights: Literal["none"] | list[float] = "none", label_smoothing: float = 0.0) -> None:
        super().__init__(class_weights, label_smoothing)


def fitting(weight: Tensor, logits: Tensor) -> Tensor:
    """The weights of the classes of ``logits`` (B, C, …), in their precision.

    Raises:
        PreceptorError: more or fewer weights than classes.
    """
    if weight.numel() != logits.shape[1]:
        raise PreceptorError(
            f"class_weights: {weight.numel()} weights for {logits.shape[1]} classes",
            expected=f"{logits.shape[1]} weights, in the order of the classes",
        )
    return weight.to(logits.dtype)


def class_weight(
    asked: str | Sequence[float] | Tensor | np.ndarray, class_counts: Tensor | Sequence[int] | None
) -> Tensor | None:
    """The weights that the setting ``class_weights`` means: float32 (C,), or None where all classes weigh the same."""
    if isinstance(asked, str) and asked == "none":
        return None
    if isinstance(asked, str) and asked == "inverse_frequency":
        if class_counts is None:
            raise PreceptorError(
                "class_weights: inverse_frequency needs class_counts",
                remedy="pass class_counts, the training images of each class",
            )
        return inverse_frequency(torch.as_tensor(class_counts))
    class_counts = None if class_counts is None else torch.as_tensor(class_counts)
    if isinstance(asked, str):
        raise PreceptorError(f"class_weights: {asked!r}", expected="none, inverse_frequency, or a list of weights")
    asked = asked.tolist() if isinstance(asked, Tensor | np.ndarray) else list(asked)
    if not asked or not all(isfinite(weight) and weight > 0 for weight in asked):
        raise PreceptorError(f"class_weights: {asked}", expected="one positive, finite weight for each class")
    if class_counts is not None and len(asked) != class_counts.numel():
        raise PreceptorError(
            f"class_weights: {len(asked)} weights for {class_counts.numel()} classes",
            expected=f"{class_counts.numel()} weights, in the order of the classes",
        )
    return torch.tensor(asked, dtype=torch.float32)
