"""What a task must answer, and recipes that cannot be run on one."""

from __future__ import annotations

from typing import Any

import pytest

from preceptor.evaluation.metrics import METRICS
from preceptor.recipes.resolve import resolve
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError


@pytest.mark.parametrize("name", ["classification", "ordinal", "segmentation"])
def test_headline_and_summary_are_metrics_of_the_task(name: str) -> None:
    task = TASKS[name]
    assert {task.headline, *task.summary} <= set(task.metrics)
    assert all(name in METRICS[key].tasks for key in task.metrics)
    assert task.metrics[task.headline].higher_is_better


@pytest.mark.parametrize(
    ("recipe", "settings", "message"),
    [
        ("kd", {"task": "segmentaton"}, r"no task called 'segmentaton'\. Did you mean 'segmentation'"),
        ("kd", {"select.metric": "balanced_acuracy"}, "select.metric: balanced_acuracy is not of classification"),
        ("kd", {"task": "segmentation", "select.metric": "accuracy"}, "select.metric: accuracy is not of segmentation"),
        ("kd", {"task": "segmentation", "resample": "over"}, "resample: masks have no classes"),
        ("kd", {"task": "segmentation", "networks.student.bottleneck": 64}, "networks.student.bottleneck"),
    ],
)
def test_recipes_that_no_task_takes(recipe: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PreceptorError, match=message):
        resolve(recipe, settings)


@pytest.mark.parametrize(
    ("recipe", "reference"),
    [("kd", "teacher"), ("crckd", "teacher"), ("kd_ml_v3", "teacher"), ("student", None), ("ml_v3", None)],
)
def test_the_reference_of_comparisons_is_whoever_teaches_and_is_not_taught(recipe: str, reference: str | None) -> None:
    assert resolve(recipe).reference == reference
