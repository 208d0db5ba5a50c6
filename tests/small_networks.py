"""Networks small enough for a test."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.pretrained import normalisation

CLASSES = ("mel", "nv", "bcc")
CNN = "test_resnet"


def architecture(backbone: str = CNN, side: int = 32, **settings: Any) -> Architecture:
    mean, std = normalisation(backbone)
    return Architecture(backbone, CLASSES, side, mean, std, **settings)


def classifier(backbone: str = CNN, side: int = 32, seed: int = 0, **settings: Any) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(architecture(backbone, side, **settings))


def images(count: int = 2, side: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def same_state(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)
