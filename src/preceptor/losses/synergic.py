"""Synergic learning: whether two images, each seen by a network of its own, are of one class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_positive, check_share


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    first, second = torch.randn(batch, 6, generator=generator), torch.randn(batch, 8, generator=generator)
    labels = torch.randint(3, (batch,), generator=generator)
    settings = {"first_size": 6, "second_size": 8, "hidden": 32}
    return settings, {"first": first, "second": second, "labels": labels, "generator": generator}


@register_loss(
    "synergic",
    feeds={"first": "to.embedding", "second": "from.embedding", "labels": "labels", "generator": "generator"},
    trains=("first", "second"),
    facts={"first_size": "to.embedding", "second_size": "from.embedding"},
    relates_images=True,
    example=_example,
)
class Synergic(nn.Module):
    """Synergic loss in the manner of synergic deep learning (Zhang et al. 2018, 2019):

        L = mean_i BCE(W₂·ReLU(W₁·[f_a[i], f_b[j(i)]] + b₁) + b₂, y_i = y_j(i))

    Two networks a and b, which share no weights and each have a cross-entropy of their own, learn together whether
    image i, seen by a, and image j(i), seen by b, are of one class. The gradient reaches both. With two or more pairs
    of networks, one such loss each. The prediction is the mean of the networks' probabilities.

    Known from the abstracts: two ImageNet networks, concatenated embeddings, a binary cross-entropy, that mean. Not
    known, as no code was found [?]: the width and depth of the synergic network (1024 and one hidden layer are from
    memory), the weight of this loss (3, from memory), and how pairs are drawn. Here j(i) is drawn in the batch: of
    i's class with probability ``same``, of another class else, any other image where there is none such.

    Args:
        first_size: D of network a; the engine gives both.
        second_size: D of network b.
        hidden: units of the hidden layer.
        same: share of pairs of one class that is aimed at, between 0 and 1.

    Raises:
        PreceptorError: no hidden unit, or a share out of range.

    >>> loss = Synergic(first_size=64, second_size=64)
    >>> first, second = torch.randn(2, 8, 64)
    >>> loss(first, second, torch.arange(8) % 2, torch.Generator()).shape
    torch.Size([])
    """

    def __init__(self, first_size: int, second_size: int, hidden: int = 1024, same: float = 0.5) -> None:
        super().__init__()
        check_positive(hidden=hidden)
        check_share(same=same)
        self.same = same
        self.network = nn.Sequential(nn.Linear(first_size + second_size, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    @full_precision
    def forward(self, first: Tensor, second: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Embeddings (B, D) of the same images by either network, and their classes (B,), to a scalar."""
        partner = self.partners(labels, generator)
        logits = self.network(torch.cat([first, second[partner]], 1)).squeeze(1)
        return functional.binary_cross_entropy_with_logits(logits, (labels == labels[partner]).to(logits.dtype))

    def partners(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """j (B,): for each image another one of the batch; a batch of one is its own partner."""
        draw = torch.rand(len(labels), len(labels) + 1, generator=generator, device=labels.device)
        alike = labels[:, None] == labels
        wanted = alike == (draw[:, -1:] < self.same)
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        return (draw[:, :-1] + wanted.float() - 3 * itself.float()).argmax(1)  # wanted first, itself last
