"""Structured distillation, pair-wise: how alike any two places of an image are."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.maps import pairs_of_one_size
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_choice
from preceptor.utils.errors import PreceptorError

#: Nodes of an image at the most: the pooled map of a 512×1024 image at 1/8, the largest of the published settings.
MOST_NODES = 2048


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student = [torch.randn(batch, 5, 5, 6, generator=generator)]
    teacher = [torch.randn(batch, 8, 5, 6, generator=generator)]
    return {}, {"student": student, "teacher": teacher}


@register_loss(
    "skd_pairwise",
    feeds={"student": "to.features", "teacher": "from.features"},
    features=("decoder1",),
    trains=("student",),
    compares_places=True,
    example=_example,
)
class PairwiseSimilarity(nn.Module):
    """Pair-wise distillation of SKD (Liu et al. 2019, eq. 4), for an image's n nodes:

        L = 1/(B·n²) Σ_b Σ_ij (a_s[i,j] - a_t[i,j])²,   a[i,j] = cos(f_i, f_j)

    Nodes are the maxima of a map over windows. Two forms are in use, and are different losses:

    * ``cirkd`` (Yang et al. 2022, who give it weight 10): windows of 2×2 places.
    * ``official`` (the authors' code; weights .5 in its script, 1 in its options, 10 in the journal's text): windows
      of half the map, hence 2×2 nodes; the norms in the cosines are 1e-8 larger and taken for constants, so that the
      gradient is not that of the cosine.

    Maps of different size are averaged to the smaller one first. Of several feature points the loss is the sum.

    Args:
        variant: ``cirkd`` or ``official``.
        window: side of the windows in places; None for the variant's own.

    Raises:
        PreceptorError: an unknown variant, or a window that is not positive.

    >>> student, teacher = torch.randn(2, 64, 14, 14), torch.randn(2, 256, 14, 14)
    >>> PairwiseSimilarity()([student], [teacher]).shape
    torch.Size([])
    """

    def __init__(self, variant: Literal["cirkd", "official"] = "cirkd", window: int | None = None) -> None:
        super().__init__()
        check_choice("variant", variant, ("cirkd", "official"))
        if window is not None and window < 1:
            raise PreceptorError(f"window: {window}", expected="one place or more, or null for the variant's own")
        self.variant, self.window = variant, window

    @full_precision
    def forward(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """Lists of maps (B, K', h, w) and (B, K, H, W), one for each feature point, to a scalar.

        Raises:
            PreceptorError: more nodes than :data:`MOST_NODES`, whose pairs would fill the memory.
        """
        pairs = pairs_of_one_size("skd_pairwise", student, teacher)
        terms = [functional.mse_loss(self._similarity(ours), self._similarity(theirs)) for ours, theirs in pairs]
        return torch.stack(terms).sum()

    def _similarity(self, feature_map: Tensor) -> Tensor:
        """Cosines of all pairs of nodes, (B, n, n)."""
        nodes = functional.max_pool2d(feature_map, self._windows(feature_map), ceil_mode=True).flatten(2)
        if nodes.shape[2] > MOST_NODES:
            raise PreceptorError(
                f"skd_pairwise: {nodes.shape[2]} nodes per image have {nodes.shape[2] ** 2:,} pairs",
                expected=f"{MOST_NODES} nodes or fewer",
                remedy="set a larger window, or name a deeper feature point in features",
            )
        if self.variant == "official":
            directions = nodes / (nodes.norm(dim=1, keepdim=True) + 1e-8).detach()
        else:
            directions = functional.normalize(nodes, dim=1)
        return directions.mT @ directions

    def _windows(self, feature_map: Tensor) -> tuple[int, int]:
        if self.window is not None:
            return self.window, self.window
        if self.variant == "cirkd":
            return 2, 2
        return max(1, feature_map.shape[2] // 2), max(1, feature_map.shape[3] // 2)
