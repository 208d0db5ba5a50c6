"""Convolution, normalisation and ReLU, as heads, decoders and the adapters of losses have them."""

from __future__ import annotations

from torch import nn


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel: int = 1, groups: int = 1, norm: type[nn.Module] = nn.BatchNorm2d
) -> list[nn.Module]:
    """Return a convolution without bias that keeps the size of its maps, a normalisation and ReLU.

    A list, for ``nn.Sequential(*…)``: the names of weights in saved files follow from how the layers are nested.

    Args:
        kernel: side in pixels, odd.
        groups: of the convolution.
        norm: built with ``out_channels``.
    """
    convolution = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=False)
    return [convolution, norm(out_channels), nn.ReLU()]
