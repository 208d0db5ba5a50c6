"""Size, arithmetic and latency of a network, against figures worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from preceptor.evaluation.cost import cost_of


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.convolution(images)).mean(dim=(2, 3)))


def test_figures_by_hand(tmp_path: Path) -> None:
    net = _Net()
    result = cost_of(net, 16, repeats=3)
    assert result["parameters"] == 3 * 8 * 9 + 2 * 8 + 8 * 5 + 5
    assert result["flops"] == 2 * (16 * 16 * 8 * 27) + 2 * (8 * 5)
    assert result["image_size"] == 16
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    assert result["bytes"] == (tmp_path / "net.safetensors").stat().st_size


def test_size_is_that_of_float32_whatever_the_module_holds() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1000, dtype=torch.float16))

        def forward(self, images: Tensor) -> Tensor:
            return images.sum()

    assert 4000 < cost_of(Half(), 8, repeats=1)["bytes"] < 4200


def test_frozen_weights_are_counted_apart() -> None:
    net = _Net()
    net.convolution.requires_grad_(False)
    result = cost_of(net, 8, repeats=1)
    assert result["parameters"] - result["trainable_parameters"] == 3 * 8 * 9


def test_latency_is_ordered_and_says_its_conditions() -> None:
    latency = cost_of(_Net(), 8, repeats=7)["latency_ms"]
    assert 0 < latency["p10"] <= latency["median"] <= latency["p90"]
    assert (latency["batch"], latency["repeats"], latency["device"]) == (1, 7, "cpu")
    assert latency["threads"] == torch.get_num_threads()
    json.dumps(latency, allow_nan=False)


def test_network_is_left_as_it_was() -> None:
    net = _Net().train()
    net.norm.eval()  # a frozen norm inside a training network
    before = {name: value.clone() for name, value in net.state_dict().items()}
    cost_of(net, 8, repeats=2)
    assert (net.training, net.convolution.training, net.norm.training) == (True, True, False)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in net.parameters())


def test_flags_come_back_after_a_failure() -> None:
    net = _Net().train()
    net.head = nn.Linear(9, 5)
    with pytest.raises(RuntimeError):
        cost_of(net, 8, repeats=1)
    assert net.training
    assert net.norm.training


@pytest.mark.parametrize(("size", "repeats"), [(0, 1), (8, 0)])
def test_what_is_refused(size: int, repeats: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        cost_of(_Net(), size, repeats=repeats)
