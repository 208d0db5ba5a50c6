"""Layers of our own behind a backbone: projection heads, and blocks on its last map."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from preceptor.networks.blocks import conv_norm_relu


class ProjectionHead(nn.Module):
    """g = normalise(W·f + b), unit rows (CRCKD, section 2.2); with ``hidden``, W₂·ReLU(W₁·f) (SSKD, Xu et al. 2020)."""

    def __init__(self, inputs: int, width: int, hidden: int | None = None) -> None:
        super().__init__()
        self.hidden = None if hidden is None else nn.Linear(inputs, hidden)
        self.linear = nn.Linear(hidden or inputs, width)

    def forward(self, embedding: Tensor) -> Tensor:
        inner = embedding if self.hidden is None else F.relu(self.hidden(embedding))
        return F.normalize(self.linear(inner), dim=1)

    def reset_parameters(self) -> None:
        """Fresh weights from torch's global generator."""
        for layer in (self.hidden, self.linear):
            if layer is not None:
                layer.reset_parameters()


def projection_head(wanted: int | str | None, inputs: int) -> ProjectionHead | None:
    """The head that an architecture's ``projection`` asks for, on embeddings (B, ``inputs``)."""
    if wanted is None:
        return None
    return ProjectionHead(inputs, inputs, inputs) if isinstance(wanted, str) else ProjectionHead(inputs, wanted)


def _conv(inputs: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*conv_norm_relu(inputs, channels))


def _projector(inputs: int, channels: int) -> nn.Sequential:
    """Build SimKD's projector: 1×1 to half of the channels, 3×3, 1×1, each with batch norm and ReLU.

    The loss ``simkd`` has the same layers, with a reduction of one's own and without this nesting, which the names of
    weights in saved networks hold.
    """
    middle = max(channels // 2, 1)
    spatial = nn.Sequential(*conv_norm_relu(middle, middle, kernel=3))
    return nn.Sequential(_conv(inputs, middle), spatial, _conv(middle, channels))


class TeacherHeads(nn.Module):
    """One classifier for each of several teachers, which together predict the mean of their probabilities.

    Each learns from its own teacher, and how far they disagree is a measure of uncertainty.

    Args:
        layers: from features to logits (B, C, …), by teacher.
        several_labels: whether each logit is a label of its own (sigmoid), and not one of several classes (softmax).

    >>> heads = TeacherHeads({"t1": nn.Linear(8, 3), "t2": nn.Linear(8, 3)})
    >>> heads(torch.rand(4, 8)).exp().sum(1).allclose(torch.ones(4))
    True
    """

    def __init__(self, layers: Mapping[str, nn.Module], several_labels: bool = False) -> None:
        super().__init__()
        self.layers, self.several_labels = nn.ModuleDict(layers), several_labels

    def forward(self, features: Tensor) -> Tensor:
        """Return logits of the mean of probabilities, (B, C, …)."""
        return self.joint(self.each(features))

    def each(self, features: Tensor) -> dict[str, Tensor]:
        """Return the logits of each teacher's classifier."""
        return {name: layer(features) for name, layer in self.layers.items()}

    def joint(self, logits: Mapping[str, Tensor]) -> Tensor:
        """Return logits of the mean of the probabilities that several logits mean."""
        stacked = torch.stack([*logits.values()])
        if self.several_labels:
            return F.logsigmoid(stacked).logsumexp(0) - F.logsigmoid(-stacked).logsumexp(0)
        return stacked.log_softmax(2).logsumexp(0) - math.log(len(stacked))


def last_layer(layer: Callable[[], nn.Module], teachers: Sequence[str], several_labels: bool = False) -> nn.Module:
    """Return a classifier, or one for each of some teachers.

    Args:
        layer: makes one.
    """
    return TeacherHeads({name: layer() for name in teachers}, several_labels) if teachers else layer()


def head_for(classifier: nn.Module, teacher: str | None) -> nn.Module:
    """Return the classifier that learns from a teacher: its own where there is one, else all of it."""
    if teacher is None or not isinstance(classifier, TeacherHeads) or teacher not in classifier.layers:
        return classifier
    return classifier.layers[teacher]


#: By the name that an architecture has for them.
MAP_BLOCKS = {"conv": _conv, "projector": _projector}
