"""CKA between the layers of two networks, which look at one batch after the other."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from preceptor.evaluation.cka import LEAST_IMAGES, MOST_LAYERS, CKAMeter, LayerSimilarity, watch_layers
from preceptor.networks.modes import evaluating


@torch.no_grad()
def compare_layers(
    one: nn.Module, other: nn.Module, batches: Iterable[Tensor], most: int = MOST_LAYERS
) -> LayerSimilarity:
    """CKA between all pairs of layers of two networks, in evaluation mode and then again in the mode they were in.

    Args:
        one: whose layers are the rows.
        other: whose layers are the columns; it may be the same network.
        batches: images as the networks take them, on their device. A batch of fewer than four, as the last may be, says
            nothing and is not counted.
        most: layers of each network, see :func:`layers_of`.

    Raises:
        ValueError: no batch of four images, or as :func:`layers_of`.
    """
    meter = CKAMeter()
    with evaluating(one, other), watch_layers(one, most) as left, watch_layers(other, most) as right:
        for images in batches:
            if len(images) < LEAST_IMAGES:
                continue
            for watched in (left, right):
                watched.clear()
            one(images)
            if other is not one:
                other(images)
            meter.update_grams(left, right)
    return meter.result()
