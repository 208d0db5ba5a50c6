"""One network, one loss: the teacher, and the student that learns alone, which every method is measured against."""

from __future__ import annotations

from typing import Any

from preceptor.recipe import Adam, NetworkConfig, Objective, OneCycle, Recipe, Select, Task, View
from preceptor.recipes.registry import register_recipe

WEIGHTED_CE: dict[str, Any] = {"loss": "cross_entropy", "class_weights": "inverse_frequency"}
#: Niyaz et al. 2024, eq. (8): focal and Dice. Dice is that of the whole batch, since an image's own says little where
#: its mask is empty.
FOCAL_AND_DICE: tuple[dict[str, Any], ...] = ({"loss": "focal_masks", "gamma": 2.0}, {"loss": "dice_pooled"})


@register_recipe(paper="weighted cross-entropy, the supervised baseline of all three systems")
def teacher(backbone: str = "mobilenetv2_100", pretrained: str = "imagenet", task: Task = "classification") -> Recipe:
    """A large network trained on the labels, from ImageNet weights: weighted cross-entropy; for masks focal + Dice."""
    return _supervised("teacher", backbone, pretrained, 3e-4, task)


@register_recipe(paper="weighted cross-entropy, the supervised baseline of all three systems")
def student(backbone: str = "mobilenetv2_050", pretrained: str = "none", task: Task = "classification") -> Recipe:
    """The small network alone, with the budget that it has when it is distilled."""
    return _supervised("student", backbone, pretrained, 1e-3, task)


def task_terms(task: Task, network: str, weight: float = 1.0, called: str = "") -> list[dict[str, Any]]:
    """The loss of the task itself for one network: objectives as YAML writes them.

    Args:
        called: what the objectives' names end in, where several networks have such a loss.
    """
    terms = [WEIGHTED_CE] if task == "classification" else list(FOCAL_AND_DICE)
    return [{**term, "name": f"{term['loss']}{called}", "of": network, "weight": weight} for term in terms]


def select_by(task: Task) -> Any:
    """The metric that chooses the epoch."""
    return "balanced_accuracy" if task == "classification" else "iou_pooled"


def _supervised(name: str, backbone: str, pretrained: str, lr: float, task: Task) -> Recipe:
    return Recipe(
        name=name,
        task=task,
        networks={name: NetworkConfig(backbone=backbone, pretrained=pretrained)},
        views={name: View(policy="dermoscopy")},
        objectives=[Objective.model_validate(term) for term in task_terms(task, name)],
        optimiser=Adam(lr=lr, weight_decay=1e-4),
        schedule=OneCycle(),
        select=Select(network=name, metric=select_by(task)),
    )
