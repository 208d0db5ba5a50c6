"""One network, one loss: the teacher, and the student that learns alone, which every method is measured against."""

from __future__ import annotations

from preceptor.recipe import Adam, Network, Objective, OneCycle, Recipe, Select, View
from preceptor.recipes.registry import register_recipe

WEIGHTED_CE = {"loss": "cross_entropy", "class_weights": "inverse_frequency"}


@register_recipe(paper="weighted cross-entropy, the supervised baseline of all three systems")
def teacher(backbone: str = "mobilenetv2_100", pretrained: str = "imagenet") -> Recipe:
    """A large network trained with weighted cross-entropy, from ImageNet weights."""
    return _supervised("teacher", backbone, pretrained, lr=3e-4)


@register_recipe(paper="weighted cross-entropy, the supervised baseline of all three systems")
def student(backbone: str = "mobilenetv2_050", pretrained: str = "none") -> Recipe:
    """The small network alone, with the budget that it has when it is distilled."""
    return _supervised("student", backbone, pretrained, lr=1e-3)


def _supervised(name: str, backbone: str, pretrained: str, lr: float) -> Recipe:
    return Recipe(
        name=name,
        networks={name: Network(backbone=backbone, pretrained=pretrained)},
        views={name: View(policy="dermoscopy")},
        objectives=[Objective.model_validate({**WEIGHTED_CE, "of": name})],
        optimiser=Adam(lr=lr, weight_decay=1e-4),
        schedule=OneCycle(),
        select=Select(network=name),
    )
