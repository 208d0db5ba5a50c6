"""Intra-class feature variation: how near each place is to the mean of its class."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from preceptor.losses.maps import pairs_of_one_size
from preceptor.losses.precision import full_precision
from preceptor.losses.regions import members_of, region_sums
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_choice

_EPSILON = 1e-8  # least norm in a cosine


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student = [torch.randn(batch, 5, 4, 4, generator=generator)]
    teacher = [torch.randn(batch, 8, 4, 4, generator=generator)]
    masks = torch.randint(3, (batch, 8, 8), generator=generator)
    return {"classes": 3}, {"student": student, "teacher": teacher, "masks": masks}


@register_loss(
    "ifvd",
    feeds={"student": "to.features", "teacher": "from.features", "masks": "masks"},
    features=("decoder1",),
    trains=("student",),
    facts={"classes": "to.classes"},
    compares_places=True,
    example=_example,
)
class IntraClassVariation(nn.Module):
    """Intra-class feature variation distillation (IFVD, Wang et al. 2020, eqs. 1–3):

        L = mean_{b,i} (q_s[b,i] - q_t[b,i])²,   q[b,i] = cos(f[b,i], P[b,y_i])

    The prototype P[b,c] is the mean of an image's features over its places of class c, Σ f / (n + 10⁻⁶), and gradient
    flows through it. Masks are taken to the map's size by the nearest neighbour. A place outside all classes (an
    ignored pixel) is its own prototype: q = 1 for both networks, and it counts in the mean. Weights: 200 in the
    authors' code, 50 in their text, 20 in CIRKD (Yang et al. 2022), each beside pixel-wise and adversarial terms.

    The literal form builds two masks of the map's size for each class. Here prototypes and cosines are two matrix
    products with the (h·w)×C memberships, whatever the number of channels.

    Maps of different size are averaged to the smaller one first. Of several feature points the loss is the sum.

    Args:
        classes: C of the masks, the background included; the engine gives it.
        average: ``places``, as published, where the background outweighs a small lesion; or ``classes`` (ours): the
            mean over an image's classes of the means over their places, then over images.

    Raises:
        PreceptorError: an unknown average.

    >>> student, teacher = torch.randn(2, 64, 14, 14), torch.randn(2, 256, 14, 14)
    >>> IntraClassVariation(classes=2)([student], [teacher], torch.randint(2, (2, 224, 224))).shape
    torch.Size([])
    """

    def __init__(self, classes: int, average: Literal["places", "classes"] = "places") -> None:
        super().__init__()
        check_choice("average", average, ("places", "classes"))
        self.classes, self.average = classes, average

    @full_precision
    def forward(self, student: list[Tensor], teacher: list[Tensor], masks: Tensor) -> Tensor:
        """Lists of maps (B, K', h, w) and (B, K, H, W), and masks (B, ·, ·) of class indices, to a scalar."""
        return torch.stack([self._of_pair(*pair, masks) for pair in pairs_of_one_size("ifvd", student, teacher)]).sum()

    def _of_pair(self, student: Tensor, teacher: Tensor, masks: Tensor) -> Tensor:
        members = members_of(masks, student, self.classes)
        squares = (_to_prototypes(student, members) - _to_prototypes(teacher, members)).square()
        if self.average == "places":
            return squares.mean()
        counts = members.sum(1)
        of_class = (squares[:, None] @ members).squeeze(1) / counts.clamp(min=1)
        return (of_class.sum(1) / counts.gt(0).sum(1).clamp(min=1)).mean()


def _to_prototypes(feature_map: Tensor, members: Tensor) -> Tensor:
    """q (B, h·w), the cosine of each place with the prototype of its class."""
    prototypes = region_sums(feature_map, members) / (members.sum(1, keepdim=True) + 1e-6)
    directions = prototypes / prototypes.norm(dim=1, keepdim=True).clamp(min=_EPSILON)
    places = feature_map.flatten(2)
    lengths = places.norm(dim=1).clamp(min=_EPSILON)
    cosines = ((places.mT @ directions) * members).sum(2) / lengths
    return torch.where(members.sum(2) > 0, cosines, places.square().sum(1) / lengths.square())
