"""The task of a recipe that nobody has named one for: what the data set is labelled for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preceptor.api.inputs import announce
from preceptor.data.readers import READERS
from preceptor.recipes.registry import RECIPES
from preceptor.tasks import TASKS


def published_tasks(data: str) -> list[str]:
    """Return the tasks that a data set is published for, the first one first; none for one's own data.

    Args:
        data: a reader's name.

    >>> published_tasks("lgg"), published_tasks("folder")
    (['segmentation', 'classification'], [])
    """
    if data not in READERS or not READERS[data].about.images:
        return []
    return [task for task in READERS[data].about.task.replace("-", "_").split(", ") if task in TASKS]


def with_task(recipe: str, settings: Mapping[str, Any], data: str, progress: bool) -> dict[str, Any]:
    """Return settings with the one task that a data set is published for, and say so, where nothing names one.

    Args:
        recipe: a shipped recipe's name; a file has the task that is written in it.
        data: a reader's name.

    >>> with_task("kd", {}, "aptos2019", progress=False)
    {'task': 'ordinal'}
    >>> with_task("kd", {"task": "classification"}, "aptos2019", progress=False)
    {'task': 'classification'}
    """
    if "task" in settings or recipe not in RECIPES or "task" not in RECIPES[recipe].arguments:
        return dict(settings)
    tasks = published_tasks(data)
    if len(tasks) != 1 or tasks == ["classification"]:  # of several, the user chooses
        return dict(settings)
    task = tasks[0]
    announce(f"task: {task}, for which {data} is labelled (--task names another)", progress)
    return {**settings, "task": task}
