"""One network, one loss: the teacher, and the student that learns alone, which every method is measured against."""

from __future__ import annotations

from typing import Literal

from preceptor.recipe import Adam, NetworkConfig, Objective, Recipe, View
from preceptor.recipes.registry import register_recipe
from preceptor.recipes.settings import SETTINGS, SettingName
from preceptor.tasks import TASKS


@register_recipe(paper="weighted cross-entropy, the supervised baseline of all three systems")
def teacher(
    preset: SettingName = "ours",
    backbone: str | None = None,
    pretrained: str | None = None,
    task: str = "classification",
) -> Recipe:
    """A large network trained on the labels, from ImageNet weights: weighted cross-entropy; for masks focal + Dice.

    preset says whose backbone, views and training: ours, or those of CRCKD, SSD-KD (each by its text or its released
    code) or KD with mutual learning. backbone and pretrained stand for another network in the same setting.
    """
    recipe = _supervised("teacher", preset, backbone, pretrained, task)
    return recipe.model_copy(update={"optimiser": Adam(lr=3e-4, weight_decay=1e-4)}) if preset == "ours" else recipe


@register_recipe(paper="weighted cross-entropy, the supervised baseline of all three systems")
def student(
    preset: SettingName = "ours",
    backbone: str | None = None,
    pretrained: str | None = None,
    task: str = "classification",
) -> Recipe:
    """The small network alone, with the budget that it has when it is distilled.

    preset says whose backbone, views and training, as for the recipe ``teacher``; crckd is row B1 of CRCKD's Table 1.
    """
    return _supervised("student", preset, backbone, pretrained, task)


def _supervised(
    name: Literal["teacher", "student"], preset: SettingName, backbone: str | None, pretrained: str | None, task: str
) -> Recipe:
    setting = SETTINGS[preset]
    usual, start = getattr(setting, name)
    bottleneck = None if TASKS[task].needs_masks else setting.bottleneck
    network = NetworkConfig(backbone=backbone or usual, pretrained=pretrained or start, bottleneck=bottleneck)
    return Recipe(
        name=name,
        task=task,
        networks={name: network},
        views={name: View(policy=setting.policy)},
        objectives=[Objective.model_validate(term) for term in TASKS[task].default_objectives(name)],
        **setting.fields(task, name),
    )
