"""What losses that compare two feature maps place by place share."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from preceptor.utils.errors import PreceptorError


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
    return _pooled(one, size), _pooled(other, size)


def _pooled(feature_map: Tensor, size: tuple[int, int]) -> Tensor:
    return feature_map if feature_map.shape[2:] == size else functional.adaptive_avg_pool2d(feature_map, size)
