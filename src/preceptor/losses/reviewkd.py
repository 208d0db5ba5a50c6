"""ReviewKD: each stage of the teacher taught by all deeper stages of the student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.losses.maps import check_as_many_points, check_points
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.review_fusion import AttentionFusion, pyramid_error
from preceptor.losses.settings import check_positive


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    inputs = {
        "student": [torch.randn(batch, k, n, n, generator=generator) for k, n in ((3, 6), (4, 3))],
        "teacher": [torch.randn(batch, k, n, n, generator=generator) for k, n in ((5, 6), (6, 2))],
        "student_embedding": torch.randn(batch, 4, generator=generator),
        "teacher_embedding": torch.randn(batch, 6, generator=generator),
    }
    facts = {"student_channels": (3, 4), "teacher_channels": (5, 6), "student_size": 4, "teacher_size": 6}
    return {**facts, "middle_channels": 8}, inputs


@register_loss(
    "reviewkd",
    feeds={
        "student": "to.features",
        "teacher": "from.features",
        "student_embedding": "to.embedding",
        "teacher_embedding": "from.embedding",
    },
    trains=("student", "student_embedding"),
    facts={
        "student_channels": "to.feature_channels",
        "teacher_channels": "from.feature_channels",
        "student_size": "to.embedding",
        "teacher_size": "from.embedding",
    },
    features=("stage1_pre", "stage2_pre", "stage3_pre", "stage4_pre"),
    relates_images=True,  # its batch normalisation
    compares_places=True,
    example=_example,
)
class ReviewKD(nn.Module):
    """Knowledge review (Chen et al. 2021, eqs. 5 to 8): from the pooled embedding (as a 1×1 map) down to the first
    stage, :class:`AttentionFusion` turns the student's maps into the teacher's, and :func:`pyramid_error` compares
    them; the sum over levels. The stages are taken before their last ReLU.

    Args:
        student_channels: K of each of the student's feature points, shallow to deep; the engine gives all four.
        teacher_channels: K of each of the teacher's.
        student_size: D of the student's embedding.
        teacher_size: D of the teacher's.
        middle_channels: m; 512 in the paper for ResNet34 to ResNet18, 256 for ResNet50 to MobileNet.

    Raises:
        PreceptorError: not as many feature points of either network, or m that is not positive.

    >>> loss = ReviewKD((8,), (16,), 8, 16, middle_channels=4)
    >>> loss([torch.rand(2, 8, 4, 4)], [torch.rand(2, 16, 4, 4)], torch.rand(2, 8), torch.rand(2, 16)) > 0
    tensor(True)
    """

    def __init__(
        self,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        student_size: int,
        teacher_size: int,
        middle_channels: int = 512,
    ) -> None:
        super().__init__()
        check_as_many_points("reviewkd", student_channels, teacher_channels)
        check_positive(middle_channels=middle_channels)
        self.student_channels, self.teacher_channels = tuple(student_channels), tuple(teacher_channels)
        widths = zip((student_size, *student_channels[::-1]), (teacher_size, *teacher_channels[::-1]), strict=True)
        self.levels = nn.ModuleList(
            AttentionFusion(ours, middle_channels, theirs, fuses=level > 0)
            for level, (ours, theirs) in enumerate(widths)
        )

    @full_precision
    def forward(
        self, student: list[Tensor], teacher: list[Tensor], student_embedding: Tensor, teacher_embedding: Tensor
    ) -> Tensor:
        """Scalar.

        Args:
            student: maps (B, K, h, w), shallow to deep.
            teacher: likewise, constants.
            student_embedding: (B, D).
            teacher_embedding: (B, D'), a constant.

        Raises:
            PreceptorError: points that are no maps, or not those that the loss was built for.
        """
        check_points("reviewkd", "student", student, self.student_channels)
        check_points("reviewkd", "teacher", teacher, self.teacher_channels)
        ours = [student_embedding[:, :, None, None], *student[::-1]]
        theirs = [teacher_embedding[:, :, None, None], *teacher[::-1]]
        fused, errors = None, []
        for level, own, other in zip(self.levels, ours, theirs, strict=True):
            fused, output = level(own, fused, tuple(other.shape[2:]))
            errors.append(pyramid_error(output, other.detach()))
        return torch.stack(errors).sum()
