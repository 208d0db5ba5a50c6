"""Probabilities of a network for the images of a part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import torch
from torch import nn

from preceptor.data.batches import Batch, Loader, in_order
from preceptor.networks.modes import evaluating
from preceptor.networks.output import NetworkOutput


@torch.no_grad()
def predict_part(
    networks: Mapping[str, nn.Module],
    loader: Loader,
    batch_size: int,
    progress: Callable[[int], None] | None = None,
    watch: Callable[[str, Batch, NetworkOutput], None] | None = None,
    activation: Literal["softmax", "sigmoid"] = "softmax",
) -> dict[str, np.ndarray]:
    """Return probabilities (P, C) in float64 of each network for a part's images in their order, unaugmented.

    The images are read once for all networks. Every network is in evaluation mode meanwhile, and then each of its
    layers again in the mode it was in; predictions are made in float32 whatever the training ran in. ``watch`` is
    shown the whole output of every network (by name) on every batch, for whoever wants more of this pass than
    probabilities.
    """
    probabilities: dict[str, list[torch.Tensor]] = {name: [] for name in networks}
    with evaluating(*networks.values()):
        for batch in loader.batches(in_order(len(loader), batch_size)):
            images = batch.images.float().div_(255)
            for name, network in networks.items():
                output = network(images)
                logits = output.logits.double()
                probabilities[name].append((logits.softmax(1) if activation == "softmax" else logits.sigmoid()).cpu())
                if watch:
                    watch(name, batch, output)
            if progress:
                progress(len(batch))
    return {name: torch.cat(parts).numpy() for name, parts in probabilities.items()}
