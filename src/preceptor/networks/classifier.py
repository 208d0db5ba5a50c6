"""A classifier on a timm backbone, with all that objectives may compare: logits, maps, embedding, projection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from preceptor.networks import attention_gates, attention_residual  # noqa: F401  (they register with timm)
from preceptor.networks.backbone_names import unknown_backbone
from preceptor.networks.features import (
    PRE,
    STAGES,
    intermediates,
    last_activations,
    prefix_tokens,
    record_inputs,
    refuse_unknown,
    stage_indices,
)
from preceptor.networks.heads import MAP_BLOCKS, TeacherHeads, last_layer, projection_head
from preceptor.networks.image_network import ImageNetwork
from preceptor.networks.modes import evaluating
from preceptor.networks.output import NetworkOutput
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import global_generator_kept


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a network again, without its weights; stored in the header of its file.

    Attributes:
        backbone: a timm name.
        classes: class names in the order of the logits; empty for a network that only gives features.
        image_size: side in pixels of the square images it was trained on.
        mean, std: per-channel statistics that images in [0, 1] are normalised with, inside the network.
        projection: width d of a linear projection head, ``mlp`` for two layers as wide as the embedding, or None.
        dropout: before the classifier, while training.
        bottleneck: width of a linear layer between backbone and classifier that makes the embedding (CRCKD's code
            has one of 128), or None.
        map_channels: channels that a block of our own brings the last feature map to, or None.
        map_block: that block: ``conv``, a 1×1 convolution, batch norm and ReLU, or ``projector``, SimKD's three
            convolutions (Chen et al. 2022).
        input_size: side that images are resized to inside the network, or None, which takes them as they are.
        several_labels: whether each logit is a label of its own (sigmoid), and not one of several classes (softmax).
        heads: teachers that have a classifier each (see :class:`preceptor.networks.heads.TeacherHeads`).
    """

    backbone: str
    classes: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    projection: int | str | None = None
    dropout: float = 0.0
    bottleneck: int | None = None
    map_channels: int | None = None
    map_block: str = "conv"
    input_size: int | None = None
    several_labels: bool = False
    heads: tuple[str, ...] = ()

    def plain(self) -> dict[str, object]:
        return asdict(self)


class Classifier(ImageNetwork):
    """Images (B, 3, S, S) in [0, 1] to :class:`NetworkOutput`. Normalises by its own statistics.

    Args:
        architecture: what to build; weights are random until loaded.

    Raises:
        PreceptorError: timm knows no such backbone, or it cannot take images of this size.
    """

    backbone: Any  # timm's models share methods, not a class
    architecture: Architecture

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self._activations: dict[str, str] | None = None  # of each stage, once they are asked for
        self.backbone = _create(architecture)
        self.block, self.bottleneck, self.head = self._narrow()
        self._keep_statistics()
        if not isinstance(self.classifier, nn.Module):
            raise PreceptorError(
                f"backbone {architecture.backbone!r} has several classifiers", remedy="choose another backbone"
            )
        self.channels, self.embedding_size = self._measure()
        self.projection = projection_head(architecture.projection, self.embedding_size)
        if isinstance(self.classifier, nn.Linear):
            # timm scales some classifiers (EfficientNet's family, MobileNets) by the number of classes instead of
            # inputs: with seven classes the first loss is near 6 and fine-tuning starts by undoing the damage.
            self.classifier.reset_parameters()
        # Convolutions keep the layout of their weights; this one is the faster on CPU and GPU alike.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def classifier(self) -> nn.Module:
        """The last layer: embedding to logits."""
        return self.backbone.get_classifier() if self.head is None else self.head

    def forward_features(self, images: Tensor, features: Sequence[str] = ()) -> NetworkOutput:
        """Return all but the projection."""
        side = self.architecture.input_size
        if side is not None and images.shape[-1] != side:
            images = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
        normalised = (images - self.mean) / self.std
        maps: dict[str, Tensor] = {}
        if features:
            last, maps = self._maps(normalised, features)
        else:
            last = self.backbone.forward_features(normalised)
        feature_map, embedding = self._embed(last)
        each = self.head.each(embedding) if isinstance(self.head, TeacherHeads) else {}
        logits = self.head.joint(each) if isinstance(self.head, TeacherHeads) else self._logits(embedding)
        return NetworkOutput(logits, self._as_map(feature_map), embedding, features=maps, head_logits=each)

    def _logits(self, embedding: Tensor) -> Tensor:
        return self.classifier(embedding) if self.architecture.classes else embedding[:, :0]

    @property
    def feature_points(self) -> tuple[str, ...]:
        """Names that ``features`` may ask for."""
        stages = [*(name for name in stage_indices(self.backbone) if name != "stage4"), "stage4"]
        pre = [name + PRE for name in stages if name in STAGES]
        prefix = prefix_tokens(self.backbone)
        return (*stages, *pre, *(["tokens"] if prefix is not None else []), *(["class_token"] if prefix else []))

    def feature_channels(self, features: Sequence[str]) -> tuple[int, ...]:
        """Return how many channels (or, of tokens, dimensions) each of some feature points has.

        Raises:
            PreceptorError: the network has no such point.
        """
        maps = self._one_image(features).features
        return tuple(maps[name].shape[2 if name == "tokens" else 1] for name in features)

    def _maps(self, normalised: Tensor, features: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the backbone's last features and the points asked for, in one pass."""
        refuse_unknown(features, self.feature_points, self.architecture.backbone)
        before = {name: name.removesuffix(PRE) for name in features if name.endswith(PRE)}
        if before and self._activations is None:
            self._activations = self._find_activations()
        last_of = self._activations or {}
        modules = {name: self.get_submodule(last_of[stage]) for name, stage in before.items() if stage in last_of}
        stages = {before.get(name, name) for name in features} - {"stage4", "tokens", "class_token"}
        with record_inputs(modules) as entered:
            if stages:
                last, maps = intermediates(self.backbone, normalised, sorted(stages))
            else:
                last, maps = self.backbone.forward_features(normalised), {}
        if "stage4" in {before.get(name, name) for name in features}:
            maps["stage4"] = self._as_map(last)
        if "tokens" in features:
            maps["tokens"] = last[:, prefix_tokens(self.backbone) or 0 :]
        if "class_token" in features:
            maps["class_token"] = last[:, 0]
        maps |= {name: entered.get(name, maps.get(stage)) for name, stage in before.items()}  # type: ignore[misc]
        return last, {name: maps[name] for name in features}

    def _find_activations(self) -> dict[str, str]:
        """Return the last activation of each stage that ends in one; of all stages, so that this runs once."""
        known = [name for name in STAGES if name in self.feature_points]
        return last_activations(self, lambda: self._one_image(known).features, known)

    @torch.no_grad()
    def _one_image(self, features: Sequence[str] = ()) -> NetworkOutput:
        """Run one image through the network as it is, in evaluation mode."""
        side = self.architecture.image_size
        image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(self.mean)
        with evaluating(self):
            return self.forward_features(image, features)

    def _embed(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last map, behind our own block where there is one, and the embedding."""
        if self.block is not None:
            features = self.block(self._as_map(features))
            return features, F.dropout(features.mean((2, 3)), self.architecture.dropout, self.training)
        embedding = self.backbone.forward_head(features, pre_logits=True)
        return features, embedding if self.bottleneck is None else self.bottleneck(embedding)

    def _narrow(self) -> tuple[nn.Sequential | None, nn.Linear | None, nn.Module | None]:
        """The layers of our own between backbone and logits: on the map, on the embedding, and the classifier."""
        if (channels := self.architecture.map_channels) is not None:
            block = MAP_BLOCKS[self.architecture.map_block](self.backbone.num_features, channels)
            return block, None, self._last_layer(channels)
        if (width := self.architecture.bottleneck) is not None:
            return None, nn.Linear(self.backbone.head_hidden_size, width), self._last_layer(width)
        return None, None, self._last_layer(self.backbone.head_hidden_size) if self.architecture.heads else None

    def _last_layer(self, inputs: int) -> nn.Module:
        architecture = self.architecture
        layer = partial(nn.Linear, inputs, len(architecture.classes))
        return last_layer(layer, architecture.heads, architecture.several_labels)

    def _as_map(self, features: Tensor) -> Tensor:
        """Tokens and channels-last maps, as transformers give them, to (B, K, h, w)."""
        if features.ndim == 3:
            patches = features[:, getattr(self.backbone, "num_prefix_tokens", 0) :]
            side = math.isqrt(patches.shape[1])
            if side * side != patches.shape[1]:
                raise PreceptorError(
                    f"{self.architecture.backbone}: its {patches.shape[1]} tokens are not a square map"
                )
            return patches.transpose(1, 2).unflatten(2, (side, side))
        if features.shape[-1] == self.backbone.num_features != features.shape[1]:
            return features.permute(0, 3, 1, 2)
        return features

    def _measure(self) -> tuple[int, int]:
        """(K, D), from one image through the network as it is."""
        side = self.architecture.input_size or self.architecture.image_size
        try:
            with evaluating(self), torch.no_grad():
                features, embedding = self._embed(self.backbone.forward_features(torch.zeros(1, 3, side, side)))
                logits, feature_map = self._logits(embedding), self._as_map(features)
        except (RuntimeError, AssertionError, ValueError, IndexError, TypeError) as error:
            raise PreceptorError(
                f"backbone {self.architecture.backbone!r} cannot take images of {side} px: {error}",
                remedy="set image_size to a size that it takes",
            ) from None
        if embedding.ndim != 2 or feature_map.ndim != 4 or logits.shape != (1, len(self.architecture.classes)):
            raise PreceptorError(
                f"backbone {self.architecture.backbone!r} does not give one embedding, one map and one set of logits",
                remedy="choose another backbone",
            )
        return feature_map.shape[1], embedding.shape[1]


def map_channels_of(backbone: str) -> int:
    """K of a backbone's last feature map (B, K, h, w).

    Raises:
        PreceptorError: timm knows no such backbone.
    """
    with global_generator_kept():
        return int(_create(Architecture(backbone, ("any",), 224, (0.5,) * 3, (0.5,) * 3)).num_features)  # type: ignore[arg-type]


def _create(architecture: Architecture) -> nn.Module:
    name = architecture.backbone
    if not timm.is_model(name):
        raise unknown_backbone(name)
    own_classifier = architecture.bottleneck or architecture.map_channels or architecture.heads
    wanted: dict[str, Any] = {
        "num_classes": 0 if own_classifier else len(architecture.classes),
        "drop_rate": architecture.dropout,
    }
    side = architecture.input_size or architecture.image_size
    try:  # transformers are built for one image size, convolutional networks know no such argument
        return timm.create_model(name, **wanted, img_size=side)
    except TypeError:
        return timm.create_model(name, **wanted)
