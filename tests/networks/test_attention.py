"""The networks of CRCKD's contemporaries: attention gates on VGG16, attention residual blocks in ResNet50."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from preceptor.networks.attention_gates import AttentionGate, AttentionVGG
from preceptor.networks.attention_residual import AttentionResidual
from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.pretrained import load_pretrained, normalisation
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator


def classifier(backbone: str, size: int = 64) -> Classifier:
    torch.manual_seed(0)
    return Classifier(Architecture(backbone, ("mel", "nv", "bkl"), size, *normalisation(backbone)))


def images(size: int = 64) -> Tensor:
    return torch.rand(2, 3, size, size, generator=generator(1))


@pytest.mark.parametrize(("backbone", "width"), [("attention_vgg16_bn", 1280), ("arl_resnet50", 2048)])
def test_a_recipe_names_them_as_any_backbone(backbone: str, width: int) -> None:
    network = classifier(backbone).eval()
    with torch.no_grad():
        output = network(images(), features=["stage2", "stage4"])
    assert output.logits.shape == (2, 3)
    assert output.feature_map.shape == (2, width, 2, 2)
    assert output.embedding.shape == (2, width)
    torch.testing.assert_close(output.embedding, output.feature_map.mean((2, 3)))
    torch.testing.assert_close(output.features["stage4"], output.feature_map)
    assert output.features["stage2"].shape[2:] == (8, 8)


# --- attention gates -----


def test_a_gate_equals_the_formula() -> None:
    gate = AttentionGate(4, 6).double()
    draw = generator(2)
    local = torch.randn(1, 4, 4, 4, generator=draw, dtype=torch.float64)
    context = torch.randn(1, 6, 1, 1, generator=draw, dtype=torch.float64)  # raised, it is the same everywhere
    attention = gate(local, context)
    for y in range(4):
        for x in range(4):
            inner = (
                gate.local.weight[:, :, 0, 0] @ local[0, :, y, x]
                + gate.context.weight[:, :, 0, 0] @ context[0, :, 0, 0]
            )
            score = (gate.score.weight[0, :, 0, 0] * inner.clamp(min=0)).sum() + gate.score.bias[0]
            torch.testing.assert_close(attention[0, 0, y, x], 1 / (1 + (-score).exp()))


def test_the_embedding_is_the_three_means_of_the_paper() -> None:
    network = AttentionVGG(num_classes=2).double().eval()
    pools, x = [], images(96).double()
    with torch.no_grad():
        for layer in network.features:
            x = layer(x)
            if isinstance(layer, torch.nn.MaxPool2d):
                pools.append(x)
        attention = network.attention_maps(images(96).double())
        parts = [
            pools[4].mean((2, 3)),
            *((a * pool).mean((2, 3)) for a, pool in zip(attention, pools[2:4], strict=True)),
        ]
        embedding = network.forward_head(network.forward_features(images(96).double()), pre_logits=True)
        torch.testing.assert_close(embedding, torch.cat(parts, 1))
        torch.testing.assert_close(network(images(96).double()), network.get_classifier()(embedding))
    assert [tuple(a.shape) for a in attention] == [(2, 1, 12, 12), (2, 1, 6, 6)]


def test_its_maps_are_those_of_a_plain_vgg() -> None:
    torch.manual_seed(0)
    plain = timm.create_model("vgg16_bn", num_classes=0, mlp_ratio=0.01).eval()
    network = timm.create_model("attention_vgg16_bn", num_classes=4).eval()
    own = {key: value.clone() for key, value in network.state_dict().items() if not key.startswith("features.")}
    network.load_state_dict(network.from_plain_weights(plain.state_dict()))
    assert all(torch.equal(network.state_dict()[key], value) for key, value in own.items())
    with torch.no_grad():
        last, maps = network.forward_intermediates(images(), indices=[1, 2, 3, 4, 5])
        expected = plain.forward_intermediates(images(), indices=[1, 2, 3, 4, 5], intermediates_only=True)
        torch.testing.assert_close(network.forward_features(images()), last)
    for ours, theirs in zip(maps[:4], expected[:4], strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(last[:, :512], expected[4])


def test_gates_refuse_images_whose_maps_do_not_fit() -> None:
    with pytest.raises(
        PreceptorError, match="cannot take images of 80 px: its gates need sides that are multiples of 32"
    ):
        classifier("attention_vgg16_bn", 80)


# --- attention residual -----


def pair_of_resnets() -> tuple[torch.nn.Module, torch.nn.Module]:
    """A ResNet50 with statistics of its own, and the one with attention that starts from its weights."""
    torch.manual_seed(0)
    plain = timm.create_model("resnet50", num_classes=3, zero_init_last=False)
    network = timm.create_model("arl_resnet50", num_classes=3)
    network.load_state_dict(network.from_plain_weights(plain.state_dict()))
    return plain, network


def test_without_attention_it_is_resnet50_exactly() -> None:
    plain, network = pair_of_resnets()
    blocks = [module for module in network.modules() if isinstance(module, AttentionResidual)]
    assert len(blocks) == 16
    for block in blocks:
        torch.nn.init.zeros_(block.alpha)
    for mode in (True, False):  # the first leaves its statistics to the second
        assert torch.equal(network.train(mode)(images()), plain.train(mode)(images()))


def test_a_block_equals_the_formula() -> None:
    torch.manual_seed(0)
    block = AttentionResidual(8, 2).double().eval()
    torch.nn.init.constant_(block.alpha, 0.3)
    x = torch.randn(2, 8, 3, 4, generator=generator(3), dtype=torch.float64)
    inner = torch.relu(block.bn1(block.conv1(x)))
    last = block.bn3(block.conv3(torch.relu(block.bn2(block.conv2(inner)))))
    expected = torch.zeros_like(x)
    for image in range(2):
        for channel in range(8):
            weights = last[image, channel].exp() / last[image, channel].exp().sum()
            summed = last[image, channel] + x[image, channel] + 0.3 * weights * x[image, channel]
            expected[image, channel] = summed.clamp(min=0)
    torch.testing.assert_close(block(x), expected)


def test_every_alpha_learns() -> None:
    _, network = pair_of_resnets()
    network(images()).square().sum().backward()
    alphas = [parameter for name, parameter in network.named_parameters() if name.endswith(".alpha")]
    assert all(alpha.grad is not None and alpha.grad != 0 for alpha in alphas)


@pytest.mark.parametrize(("plain", "backbone"), [("vgg16_bn", "attention_vgg16_bn"), ("resnet50", "arl_resnet50")])
def test_weights_of_the_plain_network_serve_as_a_start(plain: str, backbone: str, tmp_path: Path) -> None:
    small = {"mlp_ratio": 0.01} if plain == "vgg16_bn" else {}
    weights = timm.create_model(plain, **small).state_dict()
    save_file(weights, tmp_path / "plain.safetensors")
    network = timm.create_model(backbone, num_classes=3)
    assert load_pretrained(network, backbone, str(tmp_path / "plain.safetensors")) == "file plain.safetensors"
    loaded = network.state_dict()
    shared = [key for key in weights if key in loaded and key.split(".")[0] not in ("fc", "classifier")]
    assert len(shared) > 90
    assert all(torch.equal(loaded[key], weights[key]) for key in shared)
    other = timm.create_model("resnet18").state_dict()
    save_file(other, tmp_path / "other.safetensors")
    with pytest.raises(PreceptorError, match=f"not the weights of '{backbone}'"):
        load_pretrained(network, backbone, str(tmp_path / "other.safetensors"))
