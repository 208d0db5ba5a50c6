"""What losses on feature maps share: checks of channels and feature points, and maps of one size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from preceptor.utils.errors import PreceptorError


def map_pairs(loss: str, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Maps (B, ·, ·, ·) of the student and of the teacher, detached, of one feature point after the other.

    Raises:
        PreceptorError: unequal numbers of feature points, or features that are no maps.
    """
    check_points(loss, "student", student)
    check_points(loss, "teacher", teacher)
    check_as_many_points(loss, student, teacher)
    return zip(student, (feature.detach() for feature in teacher), strict=True)


def check_channels(loss: str, student: int, teacher: int) -> None:
    """Raise if two maps cannot be compared channel by channel.

    Raises:
        PreceptorError: the numbers of channels differ.
    """
    if student != teacher:
        raise PreceptorError(
            f"{loss}: the student's feature map has {student} channels, the other's {teacher}",
            expected="feature maps of as many channels",
            remedy=f"train the network that it learns from with map_channels={student}, an extra block of its own (one "
            "from a finished run is trained anew for it), or use the loss fitnet, which learns a regressor",
        )


def check_points(loss: str, argument: str, points: Sequence[Tensor], channels: Sequence[int] | None = None) -> None:
    """Raise if feature points are no maps, or not as many or as wide as the loss was built for.

    Args:
        loss: its name, for the message.
        argument: likewise.
        points: maps (B, K, h, w).
        channels: K of each.

    Raises:
        PreceptorError: names the point and its shape.
    """
    for index, point in enumerate(points):
        if point.ndim != 4:
            raise PreceptorError(
                f"{loss}: {argument}[{index}] has the shape {tuple(point.shape)}", expected="feature maps (B, K, h, w)"
            )
    widths = [point.shape[1] for point in points]
    if channels is not None and widths != list(channels):
        raise PreceptorError(
            f"{loss}: {argument} lists feature points of {widths} channels", expected=f"{list(channels)} channels"
        )


def check_as_many_points(loss: str, student: Sequence[object], teacher: Sequence[object]) -> None:
    """Raise if a loss that pairs feature points is given more of one network than of the other.

    Raises:
        PreceptorError: names both numbers.
    """
    if len(student) != len(teacher):
        raise PreceptorError(
            f"{loss}: {len(student)} feature points of the student, {len(teacher)} of the teacher",
            expected="as many points of either, which are compared in pairs",
            remedy="set features and from_features to lists of one length",
        )


def pairs_of_one_size(loss: str, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The maps of each feature point, (student, teacher), averaged to their common size; the teacher's detached.

    Raises:
        PreceptorError: points that are no maps, or not as many of either network.
    """
    return [at_common_size(ours, theirs) for ours, theirs in map_pairs(loss, student, teacher)]


def at_common_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps (B, K, h, w), averaged over places to the smaller of their heights and widths."""
    size = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])
    return average_to(student, size), average_to(teacher, size)


def average_to(feature_map: Tensor, size: tuple[int, int]) -> Tensor:
    """A map (B, K, h, w), averaged over places to another height and width."""
    return feature_map if feature_map.shape[2:] == size else functional.adaptive_avg_pool2d(feature_map, size)


def unit(vectors: Tensor, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Vectors of length one; those no longer than ``eps`` become zero, and pass no gradient on.

    Beyond ``eps`` it is :func:`torch.nn.functional.normalize`, whose gradient at zero is 1/eps.
    """
    squares = vectors.square().sum(dim, keepdim=True)
    long_enough = squares > eps**2
    return torch.where(long_enough, vectors * squares.where(long_enough, torch.ones_like(squares)).rsqrt(), 0)
