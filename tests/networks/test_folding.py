"""Folded batch norms: the same outputs, as many as can be, and nothing that is asked for changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from preceptor.networks.classifier import Classifier
from preceptor.networks.folding import fold_batch_norms, relative_error
from preceptor.networks.kinds import Network
from preceptor.networks.segmenter import Segmenter, UNetArchitecture
from small_networks import architecture, images, same_state

HALF = (0.5, 0.5, 0.5)


def trained(network: Network) -> Network:
    """The network with batch norms that are not those of a new one."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | BatchNormAct2d):
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return network.eval()


def batch_norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d | BatchNormAct2d) for module in network.modules())


@pytest.mark.parametrize(
    ("backbone", "left"),
    [("resnet18", 0), ("tf_efficientnet_lite0", 0), ("mobilenetv2_050", 0), ("densenet121", 62), ("test_vit", 0)],
)
def test_outputs_and_features_are_the_same_but_for_rounding(backbone: str, left: int) -> None:
    """DenseNet's batch norms before an activation and a convolution cannot be folded into anything."""
    side = 160 if backbone == "test_vit" else 32
    torch.manual_seed(0)
    network = trained(Classifier(architecture(backbone, side, projection=8)))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    points = network.feature_points
    folded, count = fold_batch_norms(network, points)
    with torch.no_grad():
        pairs = zip(*(each(images(2, side), features=points).tensors() for each in (folded, network)), strict=True)
        assert max(relative_error(value, expected) for value, expected in pairs) < 2e-5
    assert (batch_norms(folded), count) == (left, batch_norms(network) - left)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_unet_with_its_decoder_and_block() -> None:
    torch.manual_seed(0)
    shape = UNetArchitecture("resnet18", ("background", "lesion"), 32, HALF, HALF, map_channels=16)
    network = trained(Segmenter(shape))
    folded, count = fold_batch_norms(network, ("stage2", "decoder3"))
    with torch.no_grad():
        assert relative_error(folded(images()).logits, network(images()).logits) < 2e-5
    assert batch_norms(folded) == 0 < count


def test_a_feature_before_its_batch_norm_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the batch norm behind the map that is read is left; all others are folded."""
    network = trained(Classifier(architecture()))
    assert isinstance(network, Classifier)
    whole = Classifier.forward_features

    def with_early(self: Classifier, x: torch.Tensor, features: tuple[str, ...] = ()) -> object:
        kept: list[torch.Tensor] = []
        handle = self.backbone.conv1.register_forward_hook(lambda *call: kept.append(call[-1].clone()))
        output = whole(self, x)
        handle.remove()
        return output.__class__(
            output.logits, output.feature_map, output.embedding, features=dict.fromkeys(features, kept[0])
        )

    monkeypatch.setattr(Classifier, "forward_features", with_early)
    _, every = fold_batch_norms(network)
    folded, count = fold_batch_norms(network, ("early",))
    assert count == every - 1
    with torch.no_grad():
        before, after = (each(images(), features=("early",)) for each in (network, folded))
    assert relative_error(after.features["early"], before.features["early"]) < 2e-6
    assert relative_error(after.logits, before.logits) < 2e-5


def test_a_convolution_that_two_layers_read_is_not_folded() -> None:
    network = trained(Classifier(architecture()))
    backbone: Any = network.backbone  # type: ignore[union-attr]
    assert fold_batch_norms(network)[1] == batch_norms(network)
    kept: list[torch.Tensor] = []
    backbone.conv1.register_forward_hook(lambda module, inputs, output: kept.append(output.mean()))
    backbone.bn1.register_forward_hook(lambda module, inputs, output: output + kept.pop())
    assert fold_batch_norms(network)[1] == batch_norms(network) - 1


def test_folding_twice_changes_nothing_more() -> None:
    folded, _ = fold_batch_norms(trained(Classifier(architecture())))
    again, count = fold_batch_norms(folded)
    assert count == 0
    assert same_state(folded, again)


def test_an_error_that_is_not_finite_is_infinite() -> None:
    assert relative_error(torch.tensor([float("nan")]), torch.ones(1)) == float("inf")
    assert relative_error(torch.zeros(2), torch.zeros(2)) == 0
