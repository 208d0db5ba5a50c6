"""Efficient medical image segmentation by distillation: importance maps, and the affinity of regions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.maps import map_pairs
from preceptor.losses.precision import full_precision
from preceptor.losses.regions import members_of, region_sums
from preceptor.losses.registry import register_loss
from preceptor.utils.errors import PreceptorError

#: The first block's output at 1/2 of the image's side and the encoder's middle at 1/8, as the authors have it.
_POINTS = ("stem", "stage2")


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student = [torch.randn(batch, 5, 4, 4, generator=generator), torch.randn(batch, 6, 2, 2, generator=generator)]
    teacher = [torch.randn(batch, 8, 6, 6, generator=generator), torch.randn(batch, 7, 3, 3, generator=generator)]
    return {}, {"student": student, "teacher": teacher}


def _example_regions(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    _, inputs = _example(generator, batch)
    return {"classes": 2}, {**inputs, "masks": torch.randint(2, (batch, 12, 12), generator=generator)}


@register_loss(
    "emkd_importance",
    feeds={"student": "to.features", "teacher": "from.features"},
    features=_POINTS,
    trains=("student",),
    compares_places=True,
    example=_example,
)
class ImportanceMaps(nn.Module):
    """Importance maps distillation, IMD, of EMKD (Qin et al. 2021), summed over feature points:

        L = Σ_points mean_b ‖a_s - a_t‖²,   a = unit(flatten(mean_c F⁴))

    The exponent is 4, where attention transfer has 2, and the square is summed over places. The student's map is taken
    to the teacher's size bilinearly. Weight .9.

    >>> ImportanceMaps()([torch.rand(2, 16, 28, 28)], [torch.rand(2, 64, 56, 56)]).shape
    torch.Size([])
    """

    @full_precision
    def forward(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """Lists of maps (B, K', h, w) and (B, K, H, W), one for each feature point, to a scalar."""
        return torch.stack([_importance(*pair) for pair in map_pairs("emkd_importance", student, teacher)]).sum()


def _importance(student: Tensor, teacher: Tensor) -> Tensor:
    if student.shape[2:] != teacher.shape[2:]:
        student = functional.interpolate(student, teacher.shape[2:], mode="bilinear")
    ours, theirs = (functional.normalize(feature.pow(4).mean(1).flatten(1)) for feature in (student, teacher))
    return (ours - theirs).square().sum(1).mean()


@register_loss(
    "emkd_region",
    feeds={"student": "to.features", "teacher": "from.features", "masks": "masks"},
    features=_POINTS,
    trains=("student",),
    facts={"classes": "to.classes"},
    example=_example_regions,
)
class RegionAffinity(nn.Module):
    """Region affinity distillation, RAD, of EMKD (Qin et al. 2021), summed over feature points:

        L = Σ_points mean_b (r_s - r_t)²,   r = cos(v_0, v_1),   v_0 = Σ f / n_0,   v_1 = Σ f / (n_1 + 1)

    v_0 is the mean feature of the background, v_1 that of the foreground; masks are taken to each map's size by the
    nearest neighbour. Weight .9. An image without foreground has r = 0 in both networks: it adds nothing, and counts in
    the mean. One without background, where the authors' code divides zero by zero, is treated alike. Of C > 2 classes
    every pair counts, those of an absent class as zero [our reading: the paper has one foreground class].

    Args:
        classes: C of the masks, the background included; the engine gives it.

    Raises:
        PreceptorError: fewer than two classes.

    >>> loss = RegionAffinity(classes=2)
    >>> loss([torch.rand(2, 16, 28, 28)], [torch.rand(2, 64, 56, 56)], torch.randint(2, (2, 224, 224))).shape
    torch.Size([])
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise PreceptorError(f"emkd_region: masks of {classes} class", expected="the background and another class")
        self.classes = classes

    @full_precision
    def forward(self, student: list[Tensor], teacher: list[Tensor], masks: Tensor) -> Tensor:
        """Lists of maps (B, K', h, w) and (B, K, H, W), and masks (B, ·, ·) of class indices, to a scalar."""
        pairs = map_pairs("emkd_region", student, teacher)
        return torch.stack(
            [functional.mse_loss(self._affinity(ours, masks), self._affinity(theirs, masks)) for ours, theirs in pairs]
        ).sum()

    def _affinity(self, feature_map: Tensor, masks: Tensor) -> Tensor:
        """Cosines of the mean features of each pair of classes, (B, C·(C-1)/2)."""
        members = members_of(masks, feature_map, self.classes)
        counts = members.sum(1, keepdim=True)
        counts = torch.cat([counts[:, :, :1].clamp(min=1), counts[:, :, 1:] + 1], 2)
        means = region_sums(feature_map, members) / counts
        first, second = torch.triu_indices(self.classes, self.classes, 1, device=masks.device)
        return functional.cosine_similarity(means[:, :, first], means[:, :, second], dim=1)
