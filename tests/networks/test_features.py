"""Named feature points: right maps, right channels, and nothing changed by asking for them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.mean_teacher import MeanTeacher
from preceptor.networks.segmenter import Segmenter, UNetArchitecture
from preceptor.utils.errors import PreceptorError

HALF = (0.5, 0.5, 0.5)
STAGES = ("stage1", "stage2", "stage3", "stage4")


def classifier(backbone: str, side: int = 64, **changes: object) -> Classifier:
    torch.manual_seed(0)
    return Classifier(Architecture(backbone, ("a", "b", "c"), side, HALF, HALF, **changes)).eval()  # type: ignore[arg-type]


def images(side: int = 64) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "resnet18", "test_convnext"])
def test_stages_halve_from_a_quarter_and_the_last_is_the_feature_map(backbone: str) -> None:
    network = classifier(backbone)
    with torch.no_grad():
        output = network(images(), features=STAGES)
        plain = network(images())
    assert [output.features[name].shape[2] for name in STAGES] == [16, 8, 4, 2]
    assert torch.equal(output.features["stage4"], output.feature_map)
    assert network.feature_channels(STAGES) == tuple(output.features[name].shape[1] for name in STAGES)
    assert torch.equal(output.logits, plain.logits)
    assert torch.equal(output.embedding, plain.embedding)
    assert plain.features == {}


@pytest.mark.parametrize("backbone", ["test_resnet", "resnet18", "resnet50"])
def test_a_stage_is_the_relu_of_what_comes_before_its_last_activation(backbone: str) -> None:
    network = classifier(backbone)
    for module in network.modules():  # a residual block starts as its shortcut, which is never negative
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight)
    before = tuple(f"{name}_pre" for name in STAGES)
    with torch.no_grad():
        maps = network(images(), features=(*STAGES, *before)).features
    for name in STAGES:
        assert torch.equal(maps[name], maps[f"{name}_pre"].relu())
        assert (maps[f"{name}_pre"] < 0).any()


def test_a_stage_without_a_last_activation_is_the_same_before_it() -> None:
    """An inverted residual (Sandler et al. 2018) ends in a linear layer."""
    network = classifier("mobilenetv2_050")
    with torch.no_grad():
        maps = network(images(), features=("stage2", "stage2_pre")).features
    assert torch.equal(maps["stage2"], maps["stage2_pre"])
    assert (maps["stage2"] < 0).any()


def test_stages_without_a_last_activation_are_looked_for_once() -> None:
    network, passes = classifier("test_convnext"), []
    network.backbone.stem.register_forward_hook(lambda *_: passes.append(1))
    for _ in range(3):
        network(images(), features=("stage2_pre",))
    assert len(passes) == 4  # three of the images, and one that looks for the activations


def test_a_frozen_layer_of_a_training_network_stays_in_evaluation_mode() -> None:
    network = classifier("test_resnet").train()
    network.backbone.bn1.eval()
    network(images(), features=("stage2_pre",))
    network.feature_channels(("stage1",))
    assert network.training
    assert not network.backbone.bn1.training


def test_tokens_of_a_transformer() -> None:
    network = classifier("test_vit", 160)
    with torch.no_grad():
        output = network(images(160), features=("tokens", "class_token", "stage2", "stage4"))
    assert output.features["tokens"].shape == (2, 100, 64)
    assert output.features["class_token"].shape == (2, 64)
    assert output.features["stage2"].shape == (2, 64, 10, 10)
    assert network.feature_channels(("tokens", "class_token")) == (64, 64)


def test_a_unet_gives_its_encoder_and_decoder() -> None:
    torch.manual_seed(0)
    network = Segmenter(UNetArchitecture("resnet18", ("background", "lesion"), 64, HALF, HALF)).eval()
    names = ("stem", *STAGES, "decoder1", "decoder2", "decoder3", "decoder4", "decoder5")
    with torch.no_grad():
        output = network(images(), features=names)
        plain = network(images())
    assert [output.features[name].shape[2] for name in names] == [32, 16, 8, 4, 2, 4, 8, 16, 32, 64]
    assert network.feature_channels(names) == tuple(output.features[name].shape[1] for name in names)
    assert torch.equal(output.features["decoder1"], output.feature_map)
    assert torch.equal(output.logits, plain.logits)


def test_gradient_flows_to_the_stages() -> None:
    network = classifier("test_resnet").train()
    output = network(images(), features=("stage1", "stage1_pre"))
    output.features["stage1"].sum().backward()
    assert any(p.grad is not None and p.grad.ne(0).any() for p in network.parameters())


def test_a_mean_teacher_passes_them_on() -> None:
    network = classifier("test_resnet")
    teacher = MeanTeacher(network, 0.99)
    with torch.no_grad():
        ours, theirs = (each(images(), features=("stage3_pre",)) for each in (network, teacher))
    assert torch.equal(ours.features["stage3_pre"], theirs.features["stage3_pre"])


def test_an_unknown_point_is_one_error() -> None:
    with pytest.raises(PreceptorError, match=r"'test_resnet' has no feature point 'stage5'.*stage"):
        classifier("test_resnet")(images(), features=("stage5",))
