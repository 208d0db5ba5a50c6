"""VGG16 with attention gates (Yan et al. 2019), under the timm name ``attention_vgg16_bn``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, get_pretrained_cfg, register_model
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.vgg import cfgs, make_layers

#: Channels of the third, fourth and fifth pool, and inside a gate.
_POOL3, _POOL4, _POOL5, _GATE = 256, 512, 512, 256
#: Side of the last map's places in pixels; images are multiples of it, so that gates see whole numbers of places.
_STRIDE = 32

_VGG16 = get_pretrained_cfg("vgg16_bn.tv_in1k")
assert _VGG16 is not None
default_cfgs = generate_default_cfgs({"attention_vgg16_bn.tv_in1k": replace(_VGG16, classifier="classifier")})


class AttentionGate(nn.Module):
    """Attention of an early map l to the places that a late map g speaks for (Yan et al. 2019, eqs. 1–2):

        a = sigmoid(φ(ReLU(W_l·l + up(W_g·g))))

    W_l, W_g and φ are 1×1 convolutions, φ alone with an offset; up is bilinear.

    Args:
        local: channels of l.
        context: channels of g.
    """

    def __init__(self, local: int, context: int) -> None:
        super().__init__()
        self.local = nn.Conv2d(local, _GATE, 1, bias=False)
        self.context = nn.Conv2d(context, _GATE, 1, bias=False)
        self.score = nn.Conv2d(_GATE, 1, 1)
        for convolution in (self.local, self.context, self.score):
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        nn.init.zeros_(self.score.bias)  # type: ignore[arg-type]

    def forward(self, local: Tensor, context: Tensor) -> Tensor:
        """Maps l (B, ·, h, w) and g (B, ·, h', w') to attention (B, 1, h, w) in (0, 1)."""
        raised = F.interpolate(self.context(context), local.shape[2:], mode="bilinear", align_corners=False)
        return torch.sigmoid(self.score(F.relu(self.local(local) + raised)))


class AttentionVGG(nn.Module):
    """The convolutions of VGG16 with batch normalisation, gates on its third and fourth pool against the fifth, and a
    linear classifier of [mean pool5, mean a₃·pool3, mean a₄·pool4] (Yan et al. 2019, AttnMel-CNN).

    It has what timm's models have. Its last map (B, 1280, h, w) holds the three at the size of the fifth pool, to which
    the attended ones are averaged: the mean over its places is the embedding. Two classes in the paper; of more than
    that only the classifier is larger [?: how CRCKD's authors trained it is not known].

    Args:
        num_classes: C; 0 for none.
        in_chans: channels of the images.
        drop_rate: dropout before the classifier (none in the paper).

    >>> network = AttentionVGG(num_classes=2).eval()
    >>> network(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 2])
    >>> [tuple(attention.shape) for attention in network.attention_maps(torch.zeros(1, 3, 64, 64))]
    [(1, 1, 8, 8), (1, 1, 4, 4)]
    """

    def __init__(self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.num_classes, self.in_chans, self.drop_rate = num_classes, in_chans, drop_rate
        self.num_features = self.head_hidden_size = _POOL5 + _POOL3 + _POOL4
        self.features = make_layers(cfgs["D"], batch_norm=True)
        if in_chans != 3:
            self.features[0] = nn.Conv2d(in_chans, 64, 3, padding=1)
        self.attention3 = AttentionGate(_POOL3, _POOL5)
        self.attention4 = AttentionGate(_POOL4, _POOL5)
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        self.reset_classifier(num_classes)
        widths = ((64, 1), (128, 2), (_POOL3, 4), (_POOL4, 8), (_POOL5, 16), (self.num_features, _STRIDE))
        self.feature_info = [{"num_chs": channels, "reduction": stride} for channels, stride in widths]

    def get_classifier(self) -> nn.Module:
        """The linear layer from the embedding to the logits."""
        return self.classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new classifier in place, its weights from N(0, .01), or none for 0 classes."""
        self.num_classes = num_classes
        self.classifier: nn.Module = nn.Identity()
        if num_classes:
            self.classifier = nn.Linear(self.num_features, num_classes)
            nn.init.normal_(self.classifier.weight, 0, 0.01)
            nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S), normalised, to logits (B, C)."""
        return self.forward_head(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S), S a multiple of 32, to the last map (B, 1280, S/32, S/32)."""
        return self._last_map(self._pools(images)[0])

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """The last map to logits (B, C), or with ``pre_logits`` to the embedding (B, 1280)."""
        embedding = F.dropout(features.mean((2, 3)), self.drop_rate, self.training)
        return embedding if pre_logits else self.classifier(embedding)

    def forward_intermediates(
        self,
        images: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """As timm's models have it: the maps before each pool (0 to 4), and the last map (5).

        The whole network is run, whatever ``stop_early`` says; there is no last norm for ``norm`` to apply.
        """
        assert output_fmt == "NCHW", "maps are of shape NCHW"
        pools, maps = self._pools(images)
        features = self._last_map(pools)
        maps.append(features)
        chosen = range(len(maps)) if indices is None else indices
        chosen = range(len(maps) - chosen, len(maps)) if isinstance(chosen, int) else chosen
        intermediates = [maps[index] for index in chosen]
        return intermediates if intermediates_only else (features, intermediates)

    def attention_maps(self, images: Tensor) -> list[Tensor]:
        """Where the two gates attend, (B, 1, S/8, S/8) and (B, 1, S/16, S/16), for images (B, 3, S, S)."""
        return self._attend(self._pools(images)[0])

    def from_plain_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a VGG16 with batch normalisation, completed by this network's own gates and classifier."""
        if any(key.startswith("attention3.") for key in weights):
            return weights
        own = {key: value for key, value in self.state_dict().items() if not key.startswith("features.")}
        return {**{key: value for key, value in weights.items() if key.startswith("features.")}, **own}

    def _pools(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The outputs of the five pools, and what entered them."""
        if images.shape[2] % _STRIDE or images.shape[3] % _STRIDE:
            raise ValueError(f"its gates need sides that are multiples of {_STRIDE} px")
        pools, maps, x = [], [], images
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pools.append(x)
        return pools, maps

    def _attend(self, pools: list[Tensor]) -> list[Tensor]:
        _, _, pool3, pool4, pool5 = pools
        return [self.attention3(pool3, pool5), self.attention4(pool4, pool5)]

    def _last_map(self, pools: list[Tensor]) -> Tensor:
        _, _, pool3, pool4, pool5 = pools
        attended = [attention * pool for attention, pool in zip(self._attend(pools), (pool3, pool4), strict=True)]
        size = pool5.shape[2], pool5.shape[3]
        return torch.cat([pool5, *(F.adaptive_avg_pool2d(each, size) for each in attended)], 1)


@register_model
def attention_vgg16_bn(pretrained: bool = False, **kwargs: Any) -> AttentionVGG:
    """:class:`AttentionVGG`; with ``pretrained`` the convolutions start from torchvision's ImageNet weights."""
    return build_model_with_cfg(
        AttentionVGG,
        "attention_vgg16_bn",
        pretrained,
        pretrained_filter_fn=lambda weights, model: model.from_plain_weights(weights),
        **kwargs,
    )
