"""Grad-CAM on networks whose maps can be worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from preceptor.evaluation.grad_cam import grad_cam
from preceptor.networks.output import NetworkOutput
from preceptor.utils.errors import PreceptorError


class _Known(nn.Module):
    """The map is twice the image; the logits are weighted means of its channels."""

    def __init__(self, detached: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.weights = nn.Parameter(torch.tensor([[1.0, 0, 0], [-1, 3, 0], [-1, -1, -1]]))
        self.detached = detached
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> NetworkOutput:
        assert not self.training
        feature_map = self.scale * images
        embedding = (self.scale * images if self.detached else feature_map).mean((2, 3))
        return NetworkOutput(embedding @ self.weights.T, feature_map, embedding)


def test_map_by_hand() -> None:
    """α is the class's weights over the number of cells, so the map is ReLU(-red + 3·green) up to a factor."""
    images = torch.rand(4, 3, 2, 5, generator=torch.Generator().manual_seed(0))
    result = grad_cam(_Known(), images, torch.tensor([1, 1, 0, 2]))
    expected = (3 * images[:2, 1] - images[:2, 0]).relu()
    assert result.shape == (4, 2, 5)
    assert torch.allclose(result[:2], expected / expected.amax((1, 2), keepdim=True))
    assert torch.allclose(result[2], images[2, 0] / images[2, 0].max())
    assert torch.equal(result[3], torch.zeros(2, 5)), "nothing speaks for the third class"


def test_frozen_network_under_no_grad_is_left_as_it_was() -> None:
    network = _Known().requires_grad_(False).train()
    network.norm.eval()
    images = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        result = grad_cam(network, images, torch.tensor([0, 0]))
    assert result.amax((1, 2)).tolist() == [1, 1]
    assert network.training
    assert not network.norm.training
    assert network.norm.num_batches_tracked == 0
    assert not images.requires_grad
    assert all(weight.grad is None for weight in network.parameters())


def test_logits_beside_the_map_are_refused() -> None:
    with pytest.raises(PreceptorError, match="do not come from its feature map"):
        grad_cam(_Known(detached=True), torch.rand(1, 3, 2, 2), torch.tensor([0]))
