"""The output of every network: the tensors that objectives may compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

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
        features: the feature points that the caller asked for, by name (see :mod:`preceptor.networks.features`).
        head_logits: as ``logits``, of the classifier of each teacher, by its name, where a network has several.
    """

    logits: Tensor
    feature_map: Tensor
    embedding: Tensor
    projection: Tensor | None = None
    features: dict[str, Tensor] = field(default_factory=dict)
    head_logits: dict[str, Tensor] = field(default_factory=dict)

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> NetworkOutput:
        """Apply a function to every tensor that is there."""
        projection = None if self.projection is None else function(self.projection)
        features, head_logits = (
            {name: function(value) for name, value in tensors.items()} for tensors in (self.features, self.head_logits)
        )
        return NetworkOutput(
            function(self.logits),
            function(self.feature_map),
            function(self.embedding),
            projection,
            features,
            head_logits,
        )

    def tensors(self) -> list[Tensor]:
        """Return every tensor that is there, in one order for all outputs of one form."""
        tensors: list[Tensor] = []
        self.map_tensors(lambda tensor: tensors.append(tensor) or tensor)  # type: ignore[func-returns-value]
        return tensors

    def with_tensors(self, tensors: Iterable[Tensor]) -> NetworkOutput:
        """Return an output of this form that holds other tensors, given in the order of :meth:`tensors`."""
        values = iter(tensors)
        return self.map_tensors(lambda _: next(values))


torch.export.register_dataclass(NetworkOutput)  # so that graphs may return it
