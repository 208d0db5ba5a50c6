"""Networks: what they say of an image, and that they start the same whatever stands beside them."""

from __future__ import annotations

import pytest
import timm
import torch

from preceptor.networks.build import build_networks
from preceptor.networks.pretrained import normalisation
from preceptor.recipe import NetworkConfig
from preceptor.utils.errors import PreceptorError
from small_networks import CLASSES, CNN, classifier, images, same_state

# --- what a network says -----


@pytest.mark.parametrize(
    ("backbone", "side", "channels", "map_side", "embedding"),
    [
        ("test_resnet", 64, 96, 2, 96),
        ("test_efficientnet", 64, 256, 2, 256),
        ("mobilenetv3_small_050", 64, 288, 2, 1024),  # its embedding is wider than its map
        ("test_convnext", 64, 64, 2, 64),
        ("test_vit", 64, 64, 4, 64),  # tokens, one of them for the class
        ("test_vit3", 64, 96, 4, 96),  # tokens and pooling
        ("swin_tiny_patch4_window7_224", 64, 768, 2, 768),  # channels last
    ],
)
def test_every_kind_of_backbone_says_all(
    backbone: str, side: int, channels: int, map_side: int, embedding: int
) -> None:
    network = classifier(backbone, side, projection=8).eval()
    with torch.no_grad():
        output = network(images(2, side))
        directly = network.backbone((images(2, side) - network.mean) / network.std)
    assert output.logits.shape == (2, 3)
    assert output.feature_map.shape == (2, channels, map_side, map_side)
    assert output.embedding.shape == (2, embedding)
    assert (network.channels, network.embedding_size) == (channels, embedding)
    assert output.projection is not None
    assert output.projection.shape == (2, 8)
    torch.testing.assert_close(output.projection.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(output.logits, directly)
    torch.testing.assert_close(network.classifier(output.embedding), output.logits)


def test_without_a_head_there_is_no_projection() -> None:
    assert classifier()(images()).projection is None


def test_tokens_become_a_map_that_keeps_its_places() -> None:
    """A patch's token lies where the patch lies, the class token nowhere."""
    network = classifier("test_vit", 64).eval()
    tokens = torch.arange(1 + 16).float().view(1, 17, 1).expand(1, 17, 64)
    assert network._as_map(tokens)[0, 0].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]


def test_a_channels_last_map_keeps_its_places() -> None:
    network = classifier("swin_tiny_patch4_window7_224", 64).eval()
    places = torch.arange(4.0).view(1, 2, 2, 1).expand(1, 2, 2, 768)
    assert network._as_map(places)[0, 0].tolist() == [[0, 1], [2, 3]]


def test_images_are_normalised_by_the_networks_own_statistics() -> None:
    network = classifier().eval()
    received = []
    network.backbone.conv1.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0]))
    network(images())
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in normalisation(CNN))
    torch.testing.assert_close(received[0], (images() - mean) / std)


def test_statistics_are_those_of_the_backbones_weights() -> None:
    assert normalisation("mobilenetv2_100") == (timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD)
    assert normalisation("test_resnet") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert normalisation("test_resnet") != normalisation("mobilenetv2_100")


@pytest.mark.parametrize("backbone", [CNN, "test_vit", "test_convnext"])
def test_dropout_acts_while_training_only(backbone: str) -> None:
    network = classifier(backbone, 64, dropout=0.5)
    network.train()
    torch.manual_seed(0)
    first = network(images(4, 64)).logits
    torch.manual_seed(1)
    assert not torch.equal(first, network(images(4, 64)).logits)
    network.eval()
    assert torch.equal(network(images(4, 64)).logits, network(images(4, 64)).logits)


def test_measuring_leaves_no_trace() -> None:
    network = classifier()
    assert network.training
    assert network.backbone.bn1.num_batches_tracked == 0


@pytest.mark.parametrize("backbone", ["test_efficientnet", "mobilenetv2_050"])
def test_first_logits_are_small_whatever_the_number_of_classes(backbone: str) -> None:
    bound = 1 / classifier(backbone).embedding_size ** 0.5
    assert classifier(backbone).classifier.weight.abs().max() <= bound


@pytest.mark.parametrize(
    ("backbone", "side", "words"),
    [
        ("test_resnt", 32, ["test_resnt", "Did you mean 'test_resnet'"]),
        ("test_vit", 56, ["test_vit", "56", "image_size"]),
        ("resnet18.no_such_tag", 32, ["resnet18.no_such_tag"]),
        ("levit_128s", 64, ["levit_128s"]),  # two classifiers
        ("dla34", 64, ["dla34"]),  # its classifier is a convolution
    ],
)
def test_a_backbone_that_cannot_serve_is_named(backbone: str, side: int, words: list[str]) -> None:
    with pytest.raises(PreceptorError) as caught:
        build_networks({"student": NetworkConfig(backbone=backbone)}, CLASSES, side, 0)
    assert all(part in str(caught.value) for part in words), str(caught.value)


# --- the same start whatever stands beside -----


def test_a_start_depends_on_seed_and_name_alone() -> None:
    student, other = NetworkConfig(backbone=CNN, projection=4), NetworkConfig(backbone="test_efficientnet")
    alone, _ = build_networks({"student": student}, CLASSES, 32, seed=5)
    torch.manual_seed(99)
    beside, _ = build_networks(
        {"other": other, "student": student, "teacher": NetworkConfig(mean_of="student")}, CLASSES, 32, seed=5
    )
    assert list(beside) == ["other", "student", "teacher"]
    assert same_state(alone["student"], beside["student"])
    another_seed, _ = build_networks({"student": student}, CLASSES, 32, seed=6)
    another_name, _ = build_networks({"pupil": student}, CLASSES, 32, seed=5)
    for different in (another_seed["student"], another_name["pupil"]):
        assert not torch.equal(different.classifier.weight, alone["student"].classifier.weight)


def test_building_leaves_the_global_stream_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    build_networks(
        {"student": NetworkConfig(backbone=CNN), "teacher": NetworkConfig(mean_of="student")}, CLASSES, 32, 0
    )
    assert torch.equal(torch.rand(1), expected)
