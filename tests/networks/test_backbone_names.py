"""Backbones as torchvision and papers spell them."""

from __future__ import annotations

import pytest

from preceptor.networks.backbone_names import unknown_backbone


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("resnet-50", "resnet50?"),
        ("ResNet50", "resnet50?"),
        ("efficientnet-b0", "efficientnet_b0?"),
        ("mobilenet_v2", "mobilenetv2_035, "),
        ("swin_tiny", "swin_tiny_patch4_window7_224"),
        ("vit_tiny", "vit_tiny_patch16_224, "),
        ("mobilnetv2_100", "'mobilenetv2_100'?"),
    ],
)
def test_a_name_that_begins_alike_is_suggested(name: str, suggested: str) -> None:
    assert f"Did you mean {suggested}" in unknown_backbone(name).what
