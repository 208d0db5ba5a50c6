"""The common form of a distilled student: a frozen teacher, a student, the same view of an image for both."""

from __future__ import annotations

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
) -> Recipe:
    """Build own·L_task + kd·T²·KL (T = 4) + terms, which lead from the teacher to the student.

    Args:
        terms: objectives as YAML writes them, without their two networks.
        task: what is predicted, and L_task with it.
        teacher: a finished run; None trains one first, by the recipe ``teacher``.
        own: weight of the task's own loss; 0 leaves it out.
        kd: weight of the KL of the logits, at the temperature of the common benchmarks.
        setting: whose backbones, views and training.
    """
    settings = SETTINGS[setting]
    backbone, start = settings.teacher
    student, student_start = settings.student
    logits = [{"loss": "kl", "weight": kd, "temperature": 4.0}] if kd else []
    objectives = [
        *(TASKS[task].default_objectives("student", own) if own else []),
        *({**term, "from": "teacher", "to": "student"} for term in (*logits, *terms)),
    ]
    return Recipe(
        name="distilled",
        task=task,
        networks={
            "teacher": NetworkConfig(
                backbone=backbone, pretrained=start, frozen=True, trained_by=trained_teacher(setting)
            )
            if teacher is None
            else NetworkConfig(run=teacher, frozen=True),
            "student": NetworkConfig(backbone=student, pretrained=student_start),
        },
        views={"student": View(policy=settings.policy), "teacher": View(same_as="student")},
        objectives=[Objective.model_validate(term) for term in objectives],
        **settings.fields(task),
    )


def trained_teacher(setting: SettingName, **changes: Any) -> TrainedBy:
    """Return the stage that trains a teacher in a paper's own setting.

    Args:
        changes: arguments of the recipe ``teacher``, or keys of what it returns.
    """
    preset = {} if setting == "ours" else {"preset": setting}
    return TrainedBy(recipe="teacher", set={**preset, **changes})
