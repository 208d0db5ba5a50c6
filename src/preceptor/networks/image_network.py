"""What classifiers and segmenters share: the normalisation of images, and a projection of the embedding."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from preceptor.networks.heads import ProjectionHead
from preceptor.networks.output import NetworkOutput


class ImageNetwork(nn.Module, ABC):
    """Images (B, 3, S, S) in [0, 1] to :class:`NetworkOutput`. Normalises by its own statistics.

    Attributes:
        architecture: a dataclass with (at least) ``mean``, ``std`` and ``projection``.
        projection: the head behind the embedding, or None.
    """

    architecture: Any
    projection: ProjectionHead | None
    mean: Tensor
    std: Tensor

    def _keep_statistics(self) -> None:
        """Register mean and standard deviation; the header of a network's file has them, and not its tensors."""
        self.register_buffer("mean", torch.tensor(self.architecture.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(self.architecture.std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor, features: Sequence[str] = ()) -> NetworkOutput:
        """Compute all outputs.

        Args:
            images: (B, 3, S, S) in [0, 1].
            features: feature points to return beside the rest (see ``feature_points``).
        """
        return self.project(self.forward_features(images, features))

    @abstractmethod
    def forward_features(self, images: Tensor, features: Sequence[str] = ()) -> NetworkOutput:
        """Return all but the projection."""

    def project(self, output: NetworkOutput) -> NetworkOutput:
        """The same with its projection, where this network has a head for one."""
        return output if self.projection is None else replace(output, projection=self.projection(output.embedding))

    @property
    def projection_size(self) -> int | None:
        """d, where there is a projection head."""
        return None if self.projection is None else self.projection.linear.out_features

    def for_inference(self) -> Self:
        """A copy without the projection head, which nothing needs once training is over."""
        bare = copy.deepcopy(self)
        bare.projection, bare.architecture = None, replace(self.architecture, projection=None)
        return bare.eval()
