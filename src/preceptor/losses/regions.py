"""Regions of feature maps: the places of each mask class, and sums over them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def members_of(masks: Tensor, feature_map: Tensor, classes: int) -> Tensor:
    """Which class each place of a map belongs to, as (B, h·w, C) zeros and ones of the map's dtype.

    Args:
        masks: (B, H, W) class indices, taken to the map's size by the nearest neighbour; an index outside 0 … C-1
            (a pixel to ignore) belongs to no class.
        feature_map: (B, K, h, w).
        classes: C.

    >>> members_of(torch.tensor([[[0, 0], [1, 255]]]), torch.zeros(1, 3, 2, 2), 2).tolist()
    [[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]]
    """
    nearest = functional.interpolate(masks[:, None].float(), feature_map.shape[2:], mode="nearest").flatten(1)
    return (nearest[:, :, None] == torch.arange(classes, device=masks.device)).to(feature_map.dtype)


def region_sums(feature_map: Tensor, members: Tensor) -> Tensor:
    """Σ of a map (B, K, h, w) over the places of each class, (B, K, C); ``members`` as :func:`members_of` gives them.

    A matrix product: additions into slots would come in an order of their own on a GPU, and a seed would not repeat.
    """
    return feature_map.flatten(2) @ members
