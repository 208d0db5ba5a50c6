"""The default task of a shipped recipe: the one that the data set is published for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preceptor.api.inputs import announce
from preceptor.recipes.registry import RECIPES
from preceptor.tasks.published import published_task


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
    task = published_task(data)
    if task in (None, "classification") or "task" in settings:
        return dict(settings)
    if recipe not in RECIPES or "task" not in RECIPES[recipe].arguments:
        return dict(settings)
    announce(f"task: {task}, for which {data} is published (--task names another)", progress)
    return {**settings, "task": task}
