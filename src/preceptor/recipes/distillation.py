"""The common form of a distilled student: a frozen teacher, a student, the same view of an image for both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preceptor.recipe import NetworkConfig, Objective, Recipe, TrainedBy, View
from preceptor.recipes.settings import SETTINGS, SettingName
from preceptor.tasks import TASKS

Term = dict[str, Any]


def distil(
    *terms: Term,
    task: str = "classification",
    teacher: str | None = None,
    own: float = 1.0,
    kd: float = 0.0,
    setting: SettingName = "ours",
    teachers: Mapping[str, NetworkConfig] | None = None,
) -> Recipe:
    """Build own·L_task + kd·T²·KL (T = 4) + terms, which lead from the teacher to the student.

    Args:
        terms: objectives as YAML writes them, without their two networks.
        task: what is predicted, and L_task with it.
        teacher: a finished run; None trains one first, by the recipe ``teacher``.
        own: weight of the task's own loss; 0 leaves it out.
        kd: weight of the KL of the logits, at the temperature of the common benchmarks.
        setting: whose backbones, views and training.
        teachers: by name, in the place of ``teacher``; of several each counts alike.
    """
    settings = SETTINGS[setting]
    teachers = teachers or {"teacher": frozen_teacher(teacher, setting)}
    sides = {"from": list(teachers) if len(teachers) > 1 else next(iter(teachers)), "to": "student"}
    logits = [{"loss": "kl", "weight": kd, "temperature": 4.0}] if kd else []
    student, start = settings.student
    objectives = [
        *(TASKS[task].default_objectives("student", own) if own else []),
        *({**for_task(term, task), **sides} for term in (*logits, *terms)),
    ]
    return Recipe(
        name="distilled",
        task=task,
        networks={**teachers, "student": NetworkConfig(backbone=student, pretrained=start)},
        views={"student": View(policy=settings.policy), **dict.fromkeys(teachers, View(same_as="student"))},
        objectives=[Objective.model_validate(term) for term in objectives],
        **settings.fields(task),
    )


def for_task(term: Term, task: str) -> Term:
    """Return a term with the KL of the logits in the form of a task: of several labels per image that of each label.

    >>> for_task({"loss": "kl", "weight": 0.5}, "multi_label")
    {'loss': 'sigmoid_kd', 'weight': 0.5}
    """
    return {**term, "loss": "sigmoid_kd"} if term["loss"] == "kl" and TASKS[task].target == "labels" else term


def frozen_teacher(run: str | None, setting: SettingName = "ours") -> NetworkConfig:
    """Return the teacher of a finished run, or one that is trained first in a paper's setting."""
    if run is not None:
        return NetworkConfig(run=run, frozen=True)
    backbone, start = SETTINGS[setting].teacher
    return NetworkConfig(backbone=backbone, pretrained=start, frozen=True, trained_by=trained_teacher(setting))


def trained_teacher(setting: SettingName, **changes: Any) -> TrainedBy:
    """Return the stage that trains a teacher in a paper's own setting.

    Args:
        changes: arguments of the recipe ``teacher``, or keys of what it returns.
    """
    preset = {} if setting == "ours" else {"preset": setting}
    return TrainedBy(recipe="teacher", set={**preset, **changes})
