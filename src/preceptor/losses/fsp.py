"""The flow of the solution procedure: how features of one stage go with those of the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.losses.maps import at_common_size, check_as_many_points, check_points
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.utils.errors import PreceptorError


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    sizes = [(3, 6), (4, 6), (40, 2), (40, 1)]  # channels and side: products of either kind
    student, teacher = ([torch.randn(batch, k, n, n, generator=generator).relu() for k, n in sizes] for _ in range(2))
    channels = tuple(k for k, _ in sizes)
    return {"student_channels": channels, "teacher_channels": channels}, {"student": student, "teacher": teacher}


@register_loss(
    "fsp",
    feeds={"student": "to.features", "teacher": "from.features"},
    trains=("student",),
    facts={"student_channels": "to.feature_channels", "teacher_channels": "from.feature_channels"},
    features=("stem", "stage1", "stage2", "stage3", "stage4"),
    example=_example,
)
class SolutionFlow(nn.Module):
    """FSP matrices (Yim et al. 2017, eqs. 1 and 2). For consecutive feature points with maps F₁ (K₁×HW) and F₂ (K₂×HW),
    the larger averaged to the size of the smaller,

        G = F₁·F₂ᵀ / (H·W),   L = Σ over the pairs of points of mean_{b,k,k'} (G_s - G_t)²

    A B×K₁×K₂×HW product is never made: G is one batched product. Where places are few, not even G is: with A and B the
    maps of student and teacher, both over √(H·W),

        A₁A₂ᵀ - B₁B₂ᵀ = U·Vᵀ,   U = ½·[A₁ - B₁, A₁ + B₁],   V = [A₂ + B₂, A₂ - B₂],   ‖U·Vᵀ‖² = ⟨UᵀU, VᵀV⟩

    which does not cancel as A nears B. In the paper this loss alone trains the student first, then the task alone.

    Args:
        student_channels: K of each of the student's feature points; the engine gives both.
        teacher_channels: K of each of the teacher's.
        adapters: whether a learned 1×1 convolution takes the student's channels to the teacher's where they differ,
            which the paper does not have.

    Raises:
        PreceptorError: fewer than two points, not as many of either network, or different channels without adapters.

    >>> maps = [torch.rand(2, 8, 4, 4), torch.rand(2, 16, 2, 2)]
    >>> SolutionFlow((8, 16), (8, 16))(maps, maps).item()
    0.0
    """

    def __init__(
        self, student_channels: Sequence[int], teacher_channels: Sequence[int], adapters: bool = False
    ) -> None:
        super().__init__()
        check_as_many_points("fsp", student_channels, teacher_channels)
        if len(student_channels) < 2:
            raise PreceptorError(
                f"fsp: {len(student_channels)} feature point", expected="at least two, since it relates one to the next"
            )
        if not adapters and tuple(student_channels) != tuple(teacher_channels):
            raise PreceptorError(
                f"fsp: the student's feature points have {list(student_channels)} channels, the teacher's "
                f"{list(teacher_channels)}",
                expected="equal channels, since the matrices are compared entry by entry",
                remedy="set adapters=true, or choose backbones of equal widths",
            )
        self.student_channels, self.teacher_channels = tuple(student_channels), tuple(teacher_channels)
        self.adapters = nn.ModuleList(
            nn.Identity() if ours == theirs else nn.Conv2d(ours, theirs, kernel_size=1)
            for ours, theirs in zip(student_channels, teacher_channels, strict=True)
        )

    @full_precision
    def forward(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """Maps (B, K, h, w) of each feature point, of either network, to a scalar.

        Raises:
            PreceptorError: points that are no maps, or not those that the loss was built for.
        """
        check_points("fsp", "student", student, self.student_channels)
        check_points("fsp", "teacher", teacher, self.teacher_channels)
        ours = [adapter(point) for adapter, point in zip(self.adapters, student, strict=True)]
        theirs = [point.detach() for point in teacher]
        pairs = zip(ours, ours[1:], theirs, theirs[1:], strict=False)
        return torch.stack([_mean_square((a1, a2), (b1, b2)) for a1, a2, b1, b2 in pairs]).sum()


def _mean_square(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Tensor:
    """mean_{b,k,k'} (G_s - G_t)² of one pair of points."""
    a1, a2 = _scaled(*student)
    b1, b2 = _scaled(*teacher)
    entries = len(a1) * a1.shape[1] * a2.shape[1]
    places = a1.shape[2]
    if places != b1.shape[2] or 2 * places * (a1.shape[1] + a2.shape[1]) >= a1.shape[1] * a2.shape[1]:
        return (a1 @ a2.mT - b1 @ b2.mT).square().sum() / entries
    u, v = torch.cat([a1 - b1, a1 + b1], dim=2) / 2, torch.cat([a2 + b2, a2 - b2], dim=2)
    return ((u.mT @ u) * (v.mT @ v)).sum() / entries


def _scaled(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    first, second = (point.flatten(2) for point in at_common_size(first, second))
    return first / first.shape[2] ** 0.5, second / second.shape[2] ** 0.5
