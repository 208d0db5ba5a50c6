"""U-Nets: what they say of an image, and where their encoders' weights come from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from segmentation_models_pytorch import Unet
from torch import Tensor

from preceptor.networks.pretrained import normalisation
from preceptor.networks.segmenter import Segmenter, UNetArchitecture
from preceptor.utils.errors import PreceptorError

CNN = "test_resnet"


def segmenter(backbone: str = CNN, side: int = 64, classes: int = 2, seed: int = 0, **settings: Any) -> Segmenter:
    torch.manual_seed(seed)
    names = tuple(f"class_{index}" for index in range(classes))
    return Segmenter(UNetArchitecture(backbone, names, side, *normalisation(backbone), **settings))


def images(count: int = 2, side: int = 64) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("backbone", "embedding"),
    [
        (CNN, 96),
        ("mobilenetv2_050", 160),
        ("test_convnext", 64),  # its maps start at a quarter of the side
        ("swin_tiny_patch4_window7_224", 768),  # channels last, built for one image size
    ],
)
def test_every_kind_of_encoder_says_all(backbone: str, embedding: int) -> None:
    network = segmenter(backbone, classes=3, projection=8).eval()
    with torch.no_grad():
        output = network(images())
    assert output.logits.shape == (2, 3, 64, 64)
    assert output.feature_map.shape == (2, 256, 4, 4)
    assert output.embedding.shape == (2, embedding)
    assert (network.channels, network.embedding_size, network.projection_size) == (256, embedding, 8)
    assert output.projection is not None
    torch.testing.assert_close(output.projection.norm(dim=1), torch.ones(2))


def test_equals_the_librarys_u_net() -> None:
    network = segmenter().eval()
    theirs = Unet(f"tu-{CNN}", encoder_weights=None, classes=2).eval()
    theirs.encoder.load_state_dict(network.encoder.state_dict())
    theirs.decoder.load_state_dict(network.decoder.state_dict())
    theirs.segmentation_head.load_state_dict(network.head.state_dict())
    received: list[Tensor] = []
    theirs.decoder.blocks[0].register_forward_hook(lambda module, inputs, output: received.append(output))
    with torch.no_grad():
        output = network(images())
        torch.testing.assert_close(output.logits, theirs((images() - network.mean) / network.std))
    torch.testing.assert_close(output.feature_map, received[0])


@pytest.mark.parametrize("side", [32, 33, 50, 70])
def test_any_side_from_32_on_gives_masks_of_that_side(side: int) -> None:
    network = segmenter(side=side).eval()
    with torch.no_grad():
        assert network(images(1, side)).logits.shape == (1, 2, side, side)


def test_the_extra_block_changes_the_channels_and_is_trained_by_the_task() -> None:
    network = segmenter(map_channels=48)
    output = network(images())
    assert output.feature_map.shape == (2, 48, 4, 4)
    assert network.channels == 48
    assert (output.feature_map >= 0).all()
    output.logits.square().mean().backward()
    assert isinstance(network.block, torch.nn.Sequential)
    gradient = network.block[0].weight.grad
    assert gradient is not None
    assert gradient.ne(0).any()
    assert network.decoder.blocks[0].conv2[0].out_channels == 256  # the block itself stays as wide as it was


def test_every_weight_is_trained_by_the_task() -> None:
    network = segmenter()
    network(images()).logits.square().mean().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_dropout_acts_while_training_only() -> None:
    network = segmenter(dropout=0.5)
    first, second = network(images()).logits, network(images()).logits
    assert not torch.equal(first, second)
    network.eval()
    assert torch.equal(network(images()).logits, network(images()).logits)


def test_building_leaves_no_trace_in_the_statistics() -> None:
    network = segmenter()
    assert network.training
    assert all(buffer == 0 for name, buffer in network.named_buffers() if name.endswith("num_batches_tracked"))


@pytest.mark.parametrize("backbone", [CNN, "test_efficientnet", "test_convnext"])  # timm renames the last one's stages
def test_an_encoder_starts_from_a_file_of_its_backbone(backbone: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    whole = timm.create_model(backbone, num_classes=4).eval()
    path = tmp_path / "weights.safetensors"
    save_file(whole.state_dict(), path)
    network = segmenter(backbone).eval()
    assert network.start_from(str(path)) == "file weights.safetensors, encoder"
    normalised = (images() - network.mean) / network.std
    with torch.no_grad():
        # The last stage before the backbone's own head, on the same image.
        expected = whole.forward_intermediates(normalised, indices=1, intermediates_only=True)[-1]
        torch.testing.assert_close(network.encoder(normalised)[-1], expected)


@pytest.mark.skipif("PRECEPTOR_DATA" not in os.environ, reason="no real data here")
def test_the_shared_imagenet_weights_start_an_encoder() -> None:
    network = segmenter("mobilenetv2_100")
    before = network.encoder.model.conv_stem.weight.clone()
    path = Path(os.environ["PRECEPTOR_DATA"]) / "mobilenetv2_100_imagenet.safetensors"
    assert network.start_from(str(path)) == f"file {path.name}, encoder"
    assert not torch.equal(network.encoder.model.conv_stem.weight, before)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file(timm.create_model("test_efficientnet").state_dict(), path)
    network = segmenter()
    with pytest.raises(PreceptorError, match="not the weights of 'test_resnet'"):
        network.start_from(str(path))
    with pytest.raises(PreceptorError, match="not the weights of 'test_resnet'"):
        network.load_encoder(timm.create_model("test_efficientnet").state_dict())
    assert network.start_from("none") == "random"


def test_inference_needs_no_projection_head() -> None:
    network = segmenter(projection=8)
    bare = network.for_inference()
    assert (bare.projection, bare.architecture.projection, bare.training) == (None, None, False)
    assert network.projection is not None
    with torch.no_grad():
        assert torch.equal(bare(images()).logits, network.eval()(images()).logits)


def test_an_architecture_is_built_again_from_its_plain_form() -> None:
    network = segmenter(map_channels=48, projection="mlp")
    again = Segmenter(UNetArchitecture(**network.architecture.plain()))  # type: ignore[arg-type]
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(images()).logits, network.eval()(images()).logits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "test_resnt"}, "Did you mean 'test_resnet'"),
        ({"backbone": "test_vit"}, "test_vit.*U-Net"),
        ({"side": 31}, "image_size: 31"),
        ({"classes": 1}, "background and at least one"),
    ],
)
def test_what_cannot_be_built_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(PreceptorError, match=message):
        Segmenter(
            UNetArchitecture(
                arguments.get("backbone", CNN),
                ("background", "lesion")[: arguments.get("classes", 2)],
                arguments.get("side", 64),
                (0.5,) * 3,
                (0.5,) * 3,
            )
        )
