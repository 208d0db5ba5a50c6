"""The critic of an adversarial loss: it learns to tell a teacher's masks from a student's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

#: Channels of the four convolutions, each of which halves the side; then one that covers what is left of 64 px.
_WIDTHS = (64, 128, 256, 512)
_LAST = 4


class MaskCritic(nn.Module):
    """Scores of B logit maps (B, C, 64, 64), or of 65 px: higher where the teacher is thought to be the author.

    The discriminator of structured distillation (Liu et al. 2019, from SAGAN, Zhang et al. 2019): batch normalisation
    of the C logits; four convolutions of 4×4 and stride 2 under spectral normalisation, each with a leaky ReLU of slope
    .1; self-attention after the third and after the fourth; a convolution of 4×4 to one number.

    Args:
        classes: C.

    >>> MaskCritic(2)(torch.randn(3, 2, 65, 65)).shape
    torch.Size([3])
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(classes)
        widths = (classes, *_WIDTHS)
        self.blocks = nn.ModuleList(
            nn.Sequential(spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1)), nn.LeakyReLU(0.1))
            for before, after in zip(widths, _WIDTHS, strict=False)
        )
        self.attention = nn.ModuleList(SelfAttention(width) for width in _WIDTHS[2:])
        self.last = nn.Conv2d(_WIDTHS[-1], 1, _LAST)

    def forward(self, logits: Tensor) -> Tensor:
        """Logits (B, C, 64, 64) or (B, C, 65, 65) to scores (B,)."""
        x = self.norm(logits)
        for block, attention in zip(self.blocks, (None, None, *self.attention), strict=True):
            x = block(x)
            x = x if attention is None else attention(x)
        return self.last(x).flatten()


class SelfAttention(nn.Module):
    """x + γ·V·softmax(QᵀK)ᵀ over the places of a map, γ learned from zero (SAGAN, Zhang et al. 2019, eqs. 1–3).

    Args:
        channels: K of the map; queries and keys have K/8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key = (nn.Conv2d(channels, channels // 8, 1) for _ in range(2))
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, feature_map: Tensor) -> Tensor:
        """A map (B, K, h, w) to one of the same shape."""
        queries, keys, values = (part(feature_map).flatten(2) for part in (self.query, self.key, self.value))
        attention = (queries.mT @ keys).softmax(2)
        return feature_map + self.gamma * (values @ attention.mT).view_as(feature_map)
