"""Distillation for masks: U-Nets on the backbones of the recipe ``kd``, with the weights of CIRKD's benchmark.

The published networks compare the map before the classifier at an eighth of the image; here it is that of the first
decoder block. FitNet, AT, KD and what is not about masks alone takes ``task=segmentation`` in its own recipe.
"""

from __future__ import annotations

from typing import Any, Literal

from preceptor.recipe import Recipe
from preceptor.recipes.distillation import distil
from preceptor.recipes.registry import register_recipe

_PIXELS: dict[str, Any] = {"loss": "kl", "weight": 1.0}
_ADVERSARY: dict[str, Any] = {"loss": "skd_holistic", "weight": 0.001}
_TASK = "segmentation"


@register_recipe(paper="Liu et al., Structured knowledge distillation, CVPR 2019; weights of Yang et al. 2022")
def skd(teacher: str | None = None) -> Recipe:
    """Structured KD: KL of pixels + 10·likeness of places + 0.001·a critic that tells the networks' masks apart."""
    return distil(_PIXELS, {"loss": "skd_pairwise", "weight": 10.0}, _ADVERSARY, task=_TASK, teacher=teacher)


@register_recipe(paper="Wang et al., Intra-class feature variation, ECCV 2020; weights of Yang et al. 2022")
def ifvd(teacher: str | None = None) -> Recipe:
    """Intra-class variation: KL of pixels + 20·similarities of places to their class's mean + the critic of SKD."""
    return distil(_PIXELS, {"loss": "ifvd", "weight": 20.0}, _ADVERSARY, task=_TASK, teacher=teacher)


@register_recipe(paper="Shu et al., Channel-wise knowledge distillation, ICCV 2021")
def cwd(teacher: str | None = None, of: Literal["logits", "maps"] = "logits") -> Recipe:
    """Channel-wise KD: 3·KL of each channel's softmax over places, of the logits; or 50 times that of maps (of=maps).

    Beside KL of pixels and the critic of SKD, as in CIRKD's benchmark.
    """
    term = {"loss": "cwd", "weight": 3.0} if of == "logits" else {"loss": "cwd_map", "weight": 50.0}
    return distil(_PIXELS, term, _ADVERSARY, task=_TASK, teacher=teacher)


@register_recipe(paper="Feng et al., Double similarity distillation, TIP 2021, as in Yang et al. 2022")
def dsd(teacher: str | None = None) -> Recipe:
    """Double similarity: 1000·differences between attention maps + 10·similarities of classes, without KL of pixels."""
    terms = {"loss": "dsd_pairwise", "weight": 1000.0}, {"loss": "dsd_channel", "weight": 10.0}
    return distil(*terms, task=_TASK, teacher=teacher)


@register_recipe(paper="Qin et al., Efficient medical image segmentation based on knowledge distillation, TMI 2021")
def emkd(teacher: str | None = None) -> Recipe:
    """EMKD: half the task's loss + 0.1·KL of pixels at T = 4 + 0.9·importance maps + 0.9·affinity of regions."""
    terms = {"loss": "emkd_importance", "weight": 0.9}, {"loss": "emkd_region", "weight": 0.9}
    return distil(*terms, task=_TASK, teacher=teacher, own=0.5, kd=0.1)
