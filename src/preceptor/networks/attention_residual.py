"""ResNet50 with attention residual blocks (Zhang et al. 2019), under the timm name ``arl_resnet50``."""

from __future__ import annotations

from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, get_pretrained_cfg, register_model
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn

#: α before training. The paper learns it for each block; where it starts is not known [?]. Public re-implementations,
#: none of them the authors', keep it at this value.
ALPHA = 0.001

default_cfgs = generate_default_cfgs(
    {f"arl_resnet50.{tag}": get_pretrained_cfg(f"resnet50.{tag}") or {} for tag in ("a1_in1k", "tv_in1k")}
)


class AttentionResidual(Bottleneck):
    """A bottleneck with attention, in the manner of ARL-CNN (Zhang et al. 2019):

        y = ReLU(F + x + α·A ⊙ x),   A = softmax of F over the places of each channel

    x is the shortcut, F the last batch normalisation's output, α one learned number. With α = 0 it is timm's block.

    The authors' code was not found [?]. That A is taken over places follows the paper's description, spatial attention
    without extra layers; the re-implementations that are public take it over channels.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.alpha = nn.Parameter(torch.tensor(ALPHA))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, K, h, w) to (B, K', h', w')."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.act2(self.drop_block(self.bn2(self.conv2(x))))
        x = x if self.aa is None else self.aa(x)
        x = self.bn3(self.conv3(x))
        x = x if self.se is None else self.se(x)
        x = x if self.drop_path is None else self.drop_path(x)
        attention = x.flatten(2).softmax(2).view_as(x)
        return self.act3(x + shortcut + self.alpha * attention * shortcut)


class AttentionResNet(ResNet):
    """timm's ResNet of :class:`AttentionResidual` blocks."""

    def from_plain_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the ResNet without attention, completed by this network's own α."""
        own = {key: value for key, value in self.state_dict().items() if key.endswith(".alpha")}
        return {**own, **weights}


@register_model
def arl_resnet50(pretrained: bool = False, **kwargs: Any) -> AttentionResNet:
    """ResNet50 of 16 attention residual blocks, in the manner of ARL-CNN (Zhang et al. 2019).

    With ``pretrained`` it starts from ResNet50's ImageNet weights. How CRCKD's authors trained it is not known [?].

    >>> network = arl_resnet50(num_classes=7).eval()
    >>> sum(name.endswith(".alpha") for name, _ in network.named_parameters())
    16
    """
    return build_model_with_cfg(
        AttentionResNet,
        "arl_resnet50",
        pretrained,
        pretrained_filter_fn=lambda weights, model: model.from_plain_weights(weights),
        block=AttentionResidual,
        layers=(3, 4, 6, 3),
        **kwargs,
    )
