"""What every network says of a batch of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NetworkOutput:
    """The tensors that objectives may ask for, all of one forward pass over B images.

    Attributes:
        logits: (B, C), or (B, C, H, W) for masks.
        feature_map: the last convolutional map (B, K, h, w); of a U-Net the output of its first decoder block.
        embedding: what the classifier sees, (B, D), raw (neither normalised nor projected).
        projection: unit rows (B, d) from the projection head, or None where the network has none.
    """

    logits: Tensor
    feature_map: Tensor
    embedding: Tensor
    projection: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> NetworkOutput:
        """The same of every tensor that is there."""
        projection = None if self.projection is None else change(self.projection)
        return NetworkOutput(change(self.logits), change(self.feature_map), change(self.embedding), projection)


torch.export.register_dataclass(NetworkOutput)  # so that graphs may return it
