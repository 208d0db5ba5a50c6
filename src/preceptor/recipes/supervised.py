"""One network, one loss: the teacher, and the student that learns alone, which every method is measured against."""

from __future__ import annotations

from preceptor.recipe import Adam, NetworkConfig, Objective, OneCycle, Recipe, Select, View
from preceptor.recipes.registry import register_recipe
from preceptor.tasks import TASKS


@register_recipe(paper="weighted cross-entropy, the supervised baseline of all three systems")
def teacher(backbone: str = "mobilenetv2_100", pretrained: str = "imagenet", task: str = "classification") -> Recipe:
    """A large network trained on the labels, from ImageNet weights: weighted cross-entropy; for masks focal + Dice."""
    return _supervised("teacher", backbone, pretrained, 3e-4, task)


@register_recipe(paper="weighted cross-entropy, the supervised baseline of all three systems")
def student(backbone: str = "mobilenetv2_050", pretrained: str = "none", task: str = "classification") -> Recipe:
    """The small network alone, with the budget that it has when it is distilled."""
    return _supervised("student", backbone, pretrained, 1e-3, task)


def _supervised(name: str, backbone: str, pretrained: str, lr: float, task: str) -> Recipe:
    return Recipe(
        name=name,
        task=task,
        networks={name: NetworkConfig(backbone=backbone, pretrained=pretrained)},
        views={name: View(policy="dermoscopy")},
        objectives=[Objective.model_validate(term) for term in TASKS[task].default_objectives(name)],
        optimiser=Adam(lr=lr, weight_decay=1e-4),
        schedule=OneCycle(),
        select=Select(network=name, metric=TASKS[task].headline),
    )
