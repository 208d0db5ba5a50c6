"""SemCKD: attention decides which stage of the teacher each stage of the student learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.adapters import batch_embedder, bottleneck
from preceptor.losses.maps import at_common_size, check_points
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_positive
from preceptor.utils.errors import PreceptorError


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student = [torch.randn(batch, k, n, n, generator=generator).relu() for k, n in ((2, 4), (3, 2))]
    teacher = [torch.randn(batch, k, n, n, generator=generator).relu() for k, n in ((3, 4), (4, 3), (5, 2))]
    facts = {"student_channels": (2, 3), "teacher_channels": (3, 4, 5), "batch_size": batch}
    return facts, {"student": student, "teacher": teacher}


@register_loss(
    "semckd",
    feeds={"student": "to.features", "teacher": "from.features"},
    trains=("student",),
    facts={
        "student_channels": "to.feature_channels",
        "teacher_channels": "from.feature_channels",
        "batch_size": "batch_size",
    },
    features=("stage1", "stage2", "stage3", "stage4"),
    relates_images=True,
    compares_places=True,
    example=_example,
    exceptions={
        "takes_a_batch_of_one": "the first layer of queries and keys is as wide as the batch",
        "order_of_images_is_irrelevant": "queries and keys see similarities in the order of the batch",
    },
)
class SemanticCalibration(nn.Module):
    """Cross-layer distillation with semantic calibration (Chen et al. 2021, eqs. 4 to 9). For the student's stages i
    and the teacher's j,

        L = 1/(B·S) Σ_b Σ_ij A[b, i, j] · mean over channels and places of (r_ij(s_i) - t_j)²

    The projectors r_ij are learned convolutions, after either map is averaged to the smaller size. A is the softmax
    over j of q·k/τ, of unit queries of s_i and keys of t_j that two linear layers make of each image's row in the B×B
    Gram of the flattened maps. So the batch size is part of the weights, and every batch has to be full.

    Args:
        student_channels: K of each of the student's feature points; the engine gives both.
        teacher_channels: K_j of the teacher's.
        batch_size: B ≥ 4 of a full step, over all processes; the engine gives it.
        temperature: τ > 0.
        middle_width: most channels inside a projector, which has 2·K_j otherwise (854 million parameters from a
            ResNet50 to a ResNet18).
        normalise_rows: whether rows of the Gram are scaled to unit length first, which the authors do not.

    Raises:
        PreceptorError: fewer than four images per batch, or a temperature or width that is not positive.

    >>> loss = SemanticCalibration((8,), (8, 16), batch_size=4)
    >>> loss([torch.rand(4, 8, 4, 4)], [torch.rand(4, 8, 4, 4), torch.rand(4, 16, 2, 2)]) > 0
    tensor(True)
    """

    def __init__(
        self,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        batch_size: int,
        temperature: float = 1.0,
        middle_width: int | None = None,
        normalise_rows: bool = False,
    ) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        if batch_size < 4:
            raise PreceptorError(f"semckd: batches of {batch_size}", expected="at least 4 images")
        self.student_channels, self.teacher_channels = tuple(student_channels), tuple(teacher_channels)
        self.batch_size, self.temperature, self.normalise_rows = batch_size, temperature, normalise_rows
        self.queries = nn.ModuleList(batch_embedder(batch_size) for _ in student_channels)
        self.keys = nn.ModuleList(batch_embedder(batch_size) for _ in teacher_channels)
        self.projectors = nn.ModuleList(
            bottleneck(ours, theirs, middle_width) for ours in student_channels for theirs in teacher_channels
        )

    @full_precision
    def forward(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """Maps (B, K, h, w) of each feature point, of either network, to a scalar.

        Raises:
            PreceptorError: another number of images, or other points, than the loss was built for.
        """
        check_points("semckd", "student", student, self.student_channels)
        check_points("semckd", "teacher", teacher, self.teacher_channels)
        if len(student[0]) != self.batch_size:
            raise PreceptorError(
                f"semckd: a batch of {len(student[0])} images, and weights for {self.batch_size}",
                expected="full batches of one size",
                remedy="leave the last, smaller batch out, and count the images of all processes",
            )
        teacher = [point.detach() for point in teacher]
        queries = torch.stack([self._rows(net, point) for net, point in zip(self.queries, student, strict=True)], 1)
        keys = torch.stack([self._rows(net, point) for net, point in zip(self.keys, teacher, strict=True)], 1)
        attention = (queries @ keys.mT / self.temperature).softmax(dim=2)
        pairs = [at_common_size(ours, theirs) for ours in student for theirs in teacher]
        compared = zip(self.projectors, pairs, strict=True)
        errors = [(projector(ours) - theirs).square().mean(dim=(1, 2, 3)) for projector, (ours, theirs) in compared]
        return (attention.flatten(1) * torch.stack(errors, dim=1)).mean(dim=0).sum() / len(student)

    def _rows(self, embedder: nn.Module, point: Tensor) -> Tensor:
        flat = point.flatten(1)
        rows = functional.normalize(flat @ flat.T) if self.normalise_rows else flat @ flat.T
        return functional.normalize(embedder(rows), dim=1)
