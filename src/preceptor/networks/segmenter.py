"""A U-Net on a timm encoder, with all that objectives may compare: logits, maps, embedding, projection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import timm
import torch
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder, UnetDecoderBlock
from segmentation_models_pytorch.encoders.timm_universal import TimmUniversalEncoder
from torch import Tensor, nn
from torch.nn import functional as F

from preceptor.networks.backbone_names import unknown_backbone
from preceptor.networks.blocks import conv_norm_relu
from preceptor.networks.features import STAGES, refuse_unknown
from preceptor.networks.heads import TeacherHeads, last_layer, projection_head
from preceptor.networks.image_network import ImageNetwork
from preceptor.networks.modes import evaluating
from preceptor.networks.output import NetworkOutput
from preceptor.networks.pretrained import load_pretrained
from preceptor.utils.errors import PreceptorError, some_of

#: Channels of the decoder blocks, from 1/16 of the image's side to all of it; the first one's map is the feature map.
DECODER = (256, 128, 64, 32, 16)
#: The encoder halves the side five times.
LEAST_SIDE = 32


@dataclass(frozen=True)
class UNetArchitecture:
    """All that is needed to build a segmenter again, without its weights; stored in the header of its file.

    Attributes:
        backbone: a timm name; its stages are the encoder.
        classes: class names in the order of the logits, background first.
        image_size: side in pixels of the square images it was trained on.
        mean, std: per-channel statistics that images in [0, 1] are normalised with, inside the network.
        projection: width d of a linear projection head on the embedding, ``mlp`` for two layers as wide as it, or None.
        dropout: of whole channels before the last convolution, while training.
        map_channels: channels that a 1×1 convolution, batch norm and ReLU bring the first decoder block's map to, or
            None, which leaves it at 256. The next block reads that map, so that the task trains it.
        kind: tells the headers of segmenters and classifiers apart.
        heads: teachers that have a classifier of pixels each (see :class:`preceptor.networks.heads.TeacherHeads`).
    """

    backbone: str
    classes: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    projection: int | str | None = None
    dropout: float = 0.0
    map_channels: int | None = None
    kind: Literal["unet"] = "unet"
    heads: tuple[str, ...] = ()

    def plain(self) -> dict[str, object]:
        return asdict(self)


class Segmenter(ImageNetwork):
    """Images (B, 3, S, S) in [0, 1] to :class:`NetworkOutput`. Normalises by its own statistics.

    A U-Net (Ronneberger et al. 2015) with segmentation-models-pytorch's decoder on any timm backbone whose maps shrink
    by halves. Images of any side from 32 px on, multiples of 32 or not: each decoder block grows its map to the size
    of the encoder's map that it meets. Of the output:

    * ``logits`` (B, C, S, S), C mask classes with the background;
    * ``feature_map`` (B, 256 or ``map_channels``, S/16, S/16), of the first decoder block (Niyaz et al. 2024);
    * ``embedding`` (B, D), the mean over places of the encoder's last map;
    * ``projection`` of the embedding, where there is a head.

    Args:
        architecture: what to build; weights are random until loaded.

    Raises:
        PreceptorError: fewer than two classes, timm knows no such backbone, it gives no maps that a U-Net can use, or
            cannot take images of this size.
    """

    architecture: UNetArchitecture

    def __init__(self, architecture: UNetArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        classes = len(architecture.classes)
        if classes < 2:
            raise PreceptorError(
                f"classes of the masks: {', '.join(architecture.classes) or 'none'}",
                expected="the background and at least one class",
            )
        self.encoder = _encoder(architecture)
        widths = self.encoder.out_channels
        self.channels, self.embedding_size = architecture.map_channels or DECODER[0], widths[-1]
        self.decoder = UnetDecoder(widths, (self.channels, *DECODER[1:]))
        self.block: nn.Module = nn.Identity()
        if architecture.map_channels is not None:
            self.decoder.blocks[0] = UnetDecoderBlock(widths[-1], widths[-2], DECODER[0])
            self.block = nn.Sequential(*conv_norm_relu(DECODER[0], self.channels))
        self.head = last_layer(lambda: SegmentationHead(DECODER[-1], classes), architecture.heads)
        initialize_decoder(self.decoder)
        initialize_decoder(self.block)
        initialize_head(self.head)
        self.projection = projection_head(architecture.projection, self.embedding_size)
        self._keep_statistics()
        self._try()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward_features(self, images: Tensor, features: Sequence[str] = ()) -> NetworkOutput:
        """Return all but the projection."""
        refuse_unknown(features, self.feature_points if features else (), self.architecture.backbone)
        maps = self.encoder((images - self.mean) / self.std)
        points = dict(zip((*reversed(STAGES), "stem"), reversed(maps), strict=False))
        x, feature_map = maps[-1], None
        for index, block in enumerate(self.decoder.blocks):
            height, width = maps[-2 - index].shape[2:]
            # The map at full size is the image itself (or VGG's first), which the decoder does not use.
            skip = maps[-2 - index] if index < len(maps) - 2 else None
            x = block(x, height, width, skip_connection=skip)
            if feature_map is None:
                x = feature_map = self.block(x)
            points[f"decoder{index + 1}"] = x
        x = F.dropout2d(x, self.architecture.dropout, self.training)
        each = self.head.each(x) if isinstance(self.head, TeacherHeads) else {}
        logits = self.head.joint(each) if isinstance(self.head, TeacherHeads) else self.head(x)
        assert feature_map is not None
        chosen = {name: points[name] for name in features}
        return NetworkOutput(logits, feature_map, maps[-1].mean((2, 3)), features=chosen, head_logits=each)

    @property
    def feature_points(self) -> tuple[str, ...]:
        """Names that ``features`` may ask for: the encoder's stages and the decoder's blocks, coarsest first."""
        stem = ("stem",) if self.encoder.out_channels[-5] else ()  # a dummy where the encoder begins at a quarter
        return (*stem, *STAGES, *(f"decoder{index + 1}" for index in range(len(DECODER))))

    def feature_channels(self, features: Sequence[str]) -> tuple[int, ...]:
        """Return how many channels each of some feature points has.

        Raises:
            PreceptorError: the network has no such point.
        """
        refuse_unknown(features, self.feature_points, self.architecture.backbone)
        widths = dict(zip((*reversed(STAGES), "stem"), reversed(self.encoder.out_channels), strict=False))
        widths |= {f"decoder{index + 1}": width for index, width in enumerate((self.channels, *DECODER[1:]))}
        return tuple(widths[name] for name in features)

    @property
    def classifier(self) -> nn.Module:
        """The last layer: from the last decoder block's map to logits."""
        return self.head

    def start_from(self, pretrained: str) -> str:
        """Starts the encoder from the weights of its backbone and says where they came from.

        Args:
            pretrained: ``none``, ``imagenet`` or a file, as for :func:`preceptor.networks.pretrained.load_pretrained`.
                Whatever follows the backbone's last stage (its classifier, MobileNet's last convolution) is not used.

        Raises:
            PreceptorError: no such file, no connection, or weights of another network.
        """
        if pretrained == "none":
            return "random"
        name = self.architecture.backbone
        whole = _create(name, self.architecture.image_size, num_classes=0)
        start = load_pretrained(whole, name, pretrained)
        self.load_encoder(whole.state_dict())
        return f"{start}, encoder"

    def load_encoder(self, weights: Mapping[str, Tensor]) -> None:
        """Loads the encoder from the state dict of the whole backbone, as timm names its tensors.

        Raises:
            PreceptorError: a tensor of the encoder is missing or has another shape.
        """
        # Where timm cuts a network into stages it joins the names of nested parts with "_" instead of ".".
        given = {_plain_key(key): tensor for key, tensor in weights.items()}
        own = self.encoder.model.state_dict()
        counters = {key for key in own if key.endswith("num_batches_tracked")}
        unfit = [
            key
            for key, tensor in own.items()
            if key not in counters and (_plain_key(key) not in given or given[_plain_key(key)].shape != tensor.shape)
        ]
        if unfit:
            raise PreceptorError(
                f"these are not the weights of {self.architecture.backbone!r}: they lack, or have in another shape, "
                f"{some_of(unfit, 3)}",
                expected=f"the state dict of timm.create_model({self.architecture.backbone!r})",
            )
        fitting = {key: given[_plain_key(key)] for key in own if _plain_key(key) in given}
        self.encoder.model.load_state_dict(fitting, strict=False)

    def _try(self) -> None:
        """One image through the network as it is."""
        backbone, side = self.architecture.backbone, self.architecture.image_size
        if side < LEAST_SIDE:
            raise PreceptorError(
                f"image_size: {side}", expected=f"{LEAST_SIDE} px or more: the encoder halves the side five times"
            )
        try:
            with evaluating(self), torch.no_grad():
                output = self.forward_features(torch.zeros(1, 3, side, side))
        except (RuntimeError, AssertionError, ValueError, IndexError, TypeError) as error:
            raise PreceptorError(
                f"backbone {backbone!r} cannot take images of {side} px: {error}",
                remedy="set image_size to a size that it takes",
            ) from None
        if output.logits.shape != (1, len(self.architecture.classes), side, side):
            raise _no_pyramid(backbone, f"its masks would be of {output.logits.shape[-1]} px")


def _plain_key(key: str) -> str:
    return key.replace("_", ".")


def _encoder(architecture: UNetArchitecture) -> TimmUniversalEncoder:
    name = architecture.backbone
    if not timm.is_model(name):
        raise unknown_backbone(name)
    try:
        try:  # as in _create: some are built for one image size
            return TimmUniversalEncoder(name, pretrained=False, img_size=architecture.image_size)  # type: ignore[arg-type]
        except TypeError:
            return TimmUniversalEncoder(name, pretrained=False)
    except (RuntimeError, ValueError, IndexError, AttributeError, AssertionError, KeyError, TypeError) as error:
        raise _no_pyramid(name, str(error)) from None


def _no_pyramid(backbone: str, why: str) -> PreceptorError:
    return PreceptorError(
        f"backbone {backbone!r} cannot be the encoder of a U-Net: {why}",
        expected="a backbone whose maps halve five times, or four times from a quarter of the side on",
        remedy="choose another backbone, such as resnet18 or mobilenetv2_100",
    )


def _create(name: str, side: int, **wanted: Any) -> nn.Module:
    try:
        return timm.create_model(name, **wanted, img_size=side)
    except TypeError:
        return timm.create_model(name, **wanted)
