"""Distillation of logits beyond the KL of ``kd``, from a frozen teacher, with the published weights.

Teacher, student and budget are those of the recipe ``kd``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from preceptor.recipe import Ramp, Recipe, View
from preceptor.recipes.distillation import distil
from preceptor.recipes.registry import register_recipe
from preceptor.tasks import TASKS

Weight = Annotated[float, Field(ge=0)]
_WARM_UP = Ramp(ramp="linear", epochs=20)


@register_recipe(paper="Zhao et al., Decoupled knowledge distillation, CVPR 2022")
def dkd(teacher: str | None = None, beta: Weight = 2.0, task: str = "classification") -> Recipe:
    """Decoupled KD: CE + KL of target against the rest + beta·KL among the rest, at T = 4, after 20 epochs of warm-up.

    The paper's beta is 8 on CIFAR-100, 0.5 to 2 on ImageNet; 2 is ours, for long-tailed classes. With two classes the
    second term is constant. For masks (ours) it is that of pixels.
    """
    loss = "dkd_masks" if TASKS[task].needs_masks else "dkd"
    return distil({"loss": loss, "weight": _WARM_UP, "beta": beta}, task=task, teacher=teacher)


@register_recipe(paper="Huang et al., Knowledge distillation from a stronger teacher, NeurIPS 2022")
def dist(teacher: str | None = None, task: str = "classification") -> Recipe:
    """DIST: CE + 2·(1 - correlation within images + 1 - correlation within classes) of the probabilities.

    For masks the samples are all pixels of the batch, and the weight is 1.
    """
    weight = 1.0 if TASKS[task].needs_masks else 2.0
    return distil({"loss": "dist", "weight": weight}, task=task, teacher=teacher)


@register_recipe(paper="Sun et al., Logit standardization in knowledge distillation, CVPR 2024")
def lskd(teacher: str | None = None, method: Literal["kd", "dkd"] = "kd") -> Recipe:
    """Logit standardisation: 0.1·CE + 9·KD of standardised logits at T = 2; or CE + 9·DKD (method=dkd).

    How sure the teacher is, is left out on purpose. It needs three classes or more.
    """
    term = {"loss": "kl" if method == "kd" else "dkd", "weight": 9.0, "temperature": 2.0, "standardise": True}
    return distil(term, teacher=teacher, own=0.1 if method == "kd" else 1.0)


@register_recipe(paper="Wei et al., Scaled decoupled distillation, CVPR 2024")
def sdd(teacher: str | None = None, method: Literal["kd", "dkd"] = "kd") -> Recipe:
    """Scaled decoupled distillation: 0.1·CE + 0.9·KD of the logits of 21 regions of the last map, at T = 4.

    Regions whose class is not the whole image's count twice. method=dkd has CE + DKD of regions, with a warm-up. It
    needs a linear classifier right behind average pooling.
    """
    if method == "kd":
        return distil({"loss": "sdd", "weight": 0.9}, teacher=teacher, own=0.1)
    return distil({"loss": "sdd", "weight": _WARM_UP, "divergence": "dkd"}, teacher=teacher)


@register_recipe(paper="Jin et al., Multi-level logit distillation, CVPR 2023")
def mlld(teacher: str | None = None, variant: Literal["official", "text"] = "official") -> Recipe:
    """Multi-level logits: 0.1·CE of a weak and a strong view each + 0.9·(KL, relations of images and of classes).

    The strong view stands for the paper's RandAugment. variant=text is the evident intention of the text; official what
    the released code does.
    """
    recipe = distil({"loss": "mlld", "weight": 0.9, "variant": variant}, teacher=teacher, own=0.2)
    weak = str(recipe.views["student"].policy)
    views = View(policy=weak, extra_transforms=["h_flip"], extra_policy="strong")
    task = [
        term.model_copy(update={"images": "all"}) if term.of == "student" else term for term in recipe.objectives
    ]  # the mean over both views, hence twice 0.1
    return recipe.model_copy(update={"views": {**recipe.views, "student": views}, "objectives": task})


@register_recipe(paper="Kim, Long-tailed knowledge distillation, CVPR 2026 (arXiv 2506.18496), from a summary of it")
def ltkd(teacher: str | None = None) -> Recipe:
    """Long-tailed KD: CE + KL between and within groups of frequent and rare classes, the teacher's bias taken out.

    No code was released, and the constants (weights 1, T = 4) are ours.
    """
    return distil({"loss": "ltkd", "weight": 1.0}, teacher=teacher)


@register_recipe(paper="Yang et al., Multi-label knowledge distillation, ICCV 2023, its logit term")
def sigmoid_kd(teacher: str | None = None) -> Recipe:
    """KD of several labels per image: binary cross-entropy + 10 times the binary KL of each label, at T = 1."""
    return distil({"loss": "sigmoid_kd", "weight": 10.0}, task="multi_label", teacher=teacher)
