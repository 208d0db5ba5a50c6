"""Softmax regression representation learning: the student's features judged by the teacher's classifier."""

from __future__ import annotations

from math import sqrt
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.adapters import classify, conv_bn_relu, drawn_linear
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_choice, check_not_negative


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    inputs = {
        "student": torch.randn(batch, 5, 3, 3, generator=generator).relu(),
        "teacher": torch.randn(batch, 8, generator=generator).relu(),
        "teacher_logits": torch.randn(batch, 3, generator=generator),
        "teacher_classifier": drawn_linear(generator, 8, 3),
    }
    return {"student_channels": 5, "teacher_size": 8}, inputs


@register_loss(
    "srrl",
    feeds={
        "student": "to.feature_map",
        "teacher": "from.embedding",
        "teacher_logits": "from.logits",
        "teacher_classifier": "from.classifier",
    },
    trains=("student",),
    facts={"student_channels": "to.channels", "teacher_size": "from.embedding"},
    relates_images=True,  # its batch normalisation
    example=_example,
)
class SoftmaxRegression(nn.Module):
    """Softmax regression representation learning (Yang et al. 2021, eqs. 4 and 6):

        MSE(φ(s), t) + w · MSE(W_t φ(s) + b_t, z_t)

    for the teacher's embedding t and logits z_t. The connector φ is a learned 1×1 convolution without bias, batch
    normalisation and ReLU; W_t, b_t are the teacher's classifier, through which gradient goes and which stays as it is.

    Args:
        student_channels: K of the student's map; the engine gives both.
        teacher_size: D of the teacher's embedding.
        point: ``map``: φ on the student's map, then the mean over places, as in the authors' code; ``pooled``: φ on the
            pooled map, as in the code of SimKD (Chen et al. 2022). ReLU and normalisation make the two differ.
        logit_weight: w ≥ 0.

    Raises:
        PreceptorError: an unknown point, or a negative weight.

    >>> loss = SoftmaxRegression(8, 16)
    >>> loss(torch.rand(2, 8, 4, 4), torch.rand(2, 16), torch.rand(2, 3), nn.Linear(16, 3)) > 0
    tensor(True)
    """

    def __init__(
        self,
        student_channels: int,
        teacher_size: int,
        point: Literal["map", "pooled"] = "map",
        logit_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice("point", point, ("map", "pooled"))
        check_not_negative(logit_weight=logit_weight)
        self.point, self.logit_weight = point, logit_weight
        convolution, *rest = conv_bn_relu(student_channels, teacher_size)
        if point == "map":
            nn.init.normal_(convolution.get_parameter("weight"), std=sqrt(2 / teacher_size))
        self.connector = nn.Sequential(convolution, *rest)

    @full_precision
    def forward(
        self, student: Tensor, teacher: Tensor, teacher_logits: Tensor, teacher_classifier: nn.Module
    ) -> Tensor:
        """Scalar.

        Args:
            student: map (B, K, h, w).
            teacher: embeddings (B, D), a constant.
            teacher_logits: (B, C), a constant.
            teacher_classifier: from (B, D) to (B, C); its parameters receive no gradient.
        """
        if self.point == "pooled":
            student = student.mean(dim=(2, 3), keepdim=True)
        features = self.connector(student).mean(dim=(2, 3))
        logits = classify(teacher_classifier, features, frozen=True)
        fit = functional.mse_loss(features, teacher.detach())
        return fit + self.logit_weight * functional.mse_loss(logits, teacher_logits.detach())
