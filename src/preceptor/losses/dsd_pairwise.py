"""Double similarity distillation, by pixel: how attention changes from layer to layer."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.maps import average_to, map_pairs, unit
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_choice
from preceptor.utils.errors import PreceptorError


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student = [torch.randn(batch, channels, 4, 4, generator=generator) for channels in (6, 5, 3)]
    teacher = [torch.randn(batch, channels, 4, 4, generator=generator) for channels in (8, 5, 3)]
    return {}, {"student": student, "teacher": teacher}


@register_loss(
    "dsd_pairwise",
    feeds={"student": "to.features", "teacher": "from.features"},
    features=("decoder1", "decoder2", "decoder3"),
    trains=("student",),
    compares_places=True,
    example=_example,
)
class PixelSimilarity(nn.Module):
    """Pixel-wise similarity distillation, PSD (Feng et al. 2021, as CIRKD re-implements it; no code of the authors
    was found):

        L = mean_{i<j} MSE(r_s[i,j], r_t[i,j]),   r[i,j] = unit(a_j - a_i),   a_i = unit(mean_c F_i²)

    the attention maps a_i of each network flattened over places; weight 1000, beside ``dsd_channel`` and
    without pixel-wise distillation. CIRKD compares the logits of an auxiliary head, the map before the classifier and
    the logits, all of one size. A U-Net has no such maps: its first decoder blocks are averaged to the smallest one
    (ours). Where two attention maps of a network agree, their difference is zero and passes no gradient on.

    Args:
        resize: ``average``, or ``none`` to refuse maps of different size.

    Raises:
        PreceptorError: an unknown resize.

    >>> maps = [torch.rand(2, 256, 14, 14), torch.rand(2, 128, 28, 28), torch.rand(2, 64, 56, 56)]
    >>> PixelSimilarity()(maps, maps).item()
    0.0
    """

    def __init__(self, resize: Literal["average", "none"] = "average") -> None:
        super().__init__()
        check_choice("resize", resize, ("average", "none"))
        self.resize = resize

    @full_precision
    def forward(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """Lists of two maps (B, ·, ·, ·) or more of each network, to a scalar.

        Raises:
            PreceptorError: fewer than two maps, or maps of different size under ``resize: none``.
        """
        students, teachers = zip(*map_pairs("dsd_pairwise", student, teacher), strict=True)
        sizes = {(feature.shape[2], feature.shape[3]) for feature in (*students, *teachers)}
        if len(students) < 2 or (len(sizes) > 1 and self.resize == "none"):
            raise PreceptorError(
                f"dsd_pairwise: {len(students)} maps of {' and '.join(f'{h}×{w}' for h, w in sorted(sizes))} places",
                expected="two maps or more of one size, whose attention is subtracted",
                remedy="name other feature points in features, or set resize=average",
            )
        smallest = min(h for h, _ in sizes), min(w for _, w in sizes)
        pairs = zip(_differences(students, smallest), _differences(teachers, smallest), strict=True)
        return torch.stack([functional.mse_loss(*pair) for pair in pairs]).mean()


def _differences(maps: tuple[Tensor, ...], smallest: tuple[int, int]) -> list[Tensor]:
    """r[i,j] for i < j, each (B, h·w)."""
    pooled = (average_to(feature, smallest) for feature in maps)
    attention = [functional.normalize(feature.square().mean(1).flatten(1)) for feature in pooled]
    return [unit(later - earlier) for earlier, later in combinations(attention, 2)]
