"""Binary cross-entropy for several labels per image, each a yes or no of its own."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.checks import check_same_shape
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.utils.errors import PreceptorError, some_of


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    logits = 3 * torch.randn(batch, 5, generator=generator)
    targets = (torch.rand(batch, 5, generator=generator) < 0.4).float()
    rows = torch.tensor([[1.0, 0, 0, 1, 1], [0, 1, 1, 0, 0], [0, 0, 1, 0, float("nan")]])
    return {"positive_weights": "balanced", "row_labels": rows}, {"logits": logits, "targets": targets}


@register_loss(
    "binary_cross_entropy",
    feeds={"logits": "to.logits", "targets": "label_matrix"},
    trains=("logits",),
    facts={"row_labels": "row_labels"},
    relates_images=True,  # the divisor is the number of known labels of the whole batch
    example=_example,
)
class BinaryCrossEntropy(nn.Module):
    """Binary cross-entropy of each label, averaged over the labels that are known:

        L = Σ_{b,l known} -(w_l·y_bl·log p_bl + (1 - y_bl)·log(1 - p_bl)) / #known,   p = sigmoid(z)

    Args:
        positive_weights: ``none``, w_l = 1; or ``balanced``, negatives over positives of the training part, so that
            both weigh the same (the ratio of the two weights of Rajpurkar et al. 2017, CheXNet).
        row_labels: (N, L) labels of the training part, 1, 0 or NaN; the engine gives it.

    Raises:
        PreceptorError: under ``balanced``, a label without a positive or a negative in the training part.

    >>> round(BinaryCrossEntropy()(torch.zeros(1, 2), torch.tensor([[1.0, float("nan")]])).item(), 4)
    0.6931
    """

    weight: Tensor | None

    def __init__(
        self, positive_weights: Literal["none", "balanced"] = "none", row_labels: Tensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("weight", _balanced(row_labels) if positive_weights == "balanced" else None)

    @full_precision
    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits (B, L) and targets (B, L), 1, 0 or NaN where a label is not known, to a scalar; 0 if none is known.

        Raises:
            PreceptorError: logits and targets of different shapes.
        """
        check_same_shape("binary_cross_entropy", logits=logits, targets=targets)
        targets = targets.detach()
        known = ~targets.isnan()
        values = functional.binary_cross_entropy_with_logits(
            logits, torch.where(known, targets, 0.0).to(logits.dtype), pos_weight=self.weight, reduction="none"
        )
        return (values * known).sum() / known.sum().clamp(min=1)


def _balanced(row_labels: Tensor | None) -> Tensor:
    row_labels = None if row_labels is None else torch.as_tensor(row_labels)
    if row_labels is None or row_labels.ndim != 2:
        raise PreceptorError("positive_weights: balanced needs the labels of the training part", expected="(N, L)")
    positives, negatives = (row_labels == 1).sum(0), (row_labels == 0).sum(0)
    one_sided = ((positives == 0) | (negatives == 0)).nonzero().flatten().tolist()
    if one_sided:
        raise PreceptorError(
            f"positive_weights: in training there is only one kind of the labels {some_of(one_sided)}",
            expected="a positive and a negative of every label",
            remedy="leave these labels out of the data, use fewer folds, or set positive_weights=none",
        )
    return negatives.float() / positives.float()
