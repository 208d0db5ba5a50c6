"""What losses that compare two feature maps place by place share."""

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
    if len(student) != len(teacher):
        raise PreceptorError(
            f"{loss}: {len(student)} feature points of the student, {len(teacher)} of the teacher",
            expected="as many of either",
            remedy="name as many points in features as in from_features",
        )
    for feature in (*student, *teacher):
        if feature.ndim != 4:
            raise PreceptorError(
                f"{loss}: a feature of shape {tuple(feature.shape)}", expected="feature maps (images, channels, h, w)"
            )
    return zip(student, (feature.detach() for feature in teacher), strict=True)


def check_channels(loss: str, student: int, teacher: int) -> None:
    """Raises where two maps cannot be compared channel by channel.

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


def at_common_size(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps (B, K, h, w), averaged over places to the smaller of their heights and widths."""
    size = min(one.shape[2], other.shape[2]), min(one.shape[3], other.shape[3])
    return average_to(one, size), average_to(other, size)


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
