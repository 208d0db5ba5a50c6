"""Evaluation mode for a while: what every evaluation leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from compared_layers import compare_layers
from preceptor.data.batches import Batch
from preceptor.evaluation.inference import predict_part
from preceptor.evaluation.layers import compare_networks
from preceptor.networks.modes import evaluating
from preceptor.networks.output import NetworkOutput


class Small(nn.Module):
    """A training network with a frozen normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4).eval()

    def forward(self, images: Tensor) -> NetworkOutput:
        assert not self.training
        feature_map = self.norm(self.convolution(images))
        embedding = feature_map.mean((2, 3))
        return NetworkOutput(embedding, feature_map, embedding)


class Grey:
    """A loader of five grey images."""

    def __len__(self) -> int:
        return 5

    def batches(self, plan: list[np.ndarray]) -> Iterator[Batch]:
        for rows in plan:
            images = torch.full((len(rows), 3, 8, 8), 128, dtype=torch.uint8)
            yield Batch(images, torch.zeros(len(rows)), torch.from_numpy(rows))


def modes(network: Small) -> tuple[bool, bool, bool]:
    return network.training, network.convolution.training, network.norm.training


def test_every_layer_has_its_own_mode_again() -> None:
    network, other = Small(), Small().eval()
    with evaluating(network, other):
        assert modes(network) == (False, False, False)
    assert modes(network) == (True, True, False)
    assert modes(other) == (False, False, False)


def test_an_evaluation_leaves_frozen_layers_frozen() -> None:
    one, other = Small(), Small()
    predict_part({"one": one}, Grey(), 4)  # type: ignore[arg-type]
    assert modes(one) == (True, True, False)
    compare_networks({"one": one, "other": other}, Grey())  # type: ignore[arg-type]
    compare_layers(one, other, [torch.rand(4, 3, 8, 8)])
    assert modes(one) == modes(other) == (True, True, False)
