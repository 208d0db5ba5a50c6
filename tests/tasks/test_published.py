"""A recipe takes the one task that its data set is published for, in a run, a search and a study alike."""

from __future__ import annotations

from typing import Any

import pytest

from preceptor.api.default_task import with_task
from preceptor.data.readers import READERS
from preceptor.study.overrides import CommandLine, resolve_plan
from preceptor.tasks import TASKS
from preceptor.tasks.published import published_task
from small_study import plan


def test_readers_name_tasks_that_there_are() -> None:
    assert not {task for name in READERS for task in READERS[name].about.tasks} - set(TASKS)


@pytest.mark.parametrize(
    ("recipe", "settings", "data", "task"),
    [
        ("kd", {}, "aptos2019", "ordinal"),
        ("kd", {}, "chestxray14", "multi_label"),
        ("kd", {"task": "classification"}, "aptos2019", "classification"),  # it was named
        ("kd", {}, "lgg", None),  # published for masks and classes: the user chooses
        ("ltkd", {}, "aptos2019", None),  # the recipe has no other task
        ("mine.yaml", {}, "aptos2019", None),  # a file has its own
    ],
)
def test_the_task_of_a_recipe(recipe: str, settings: dict[str, Any], data: str, task: str | None) -> None:
    assert with_task(recipe, settings, data, progress=False).get("task") == task


def test_it_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    with_task("kd", {}, "aptos2019", progress=True)
    assert capsys.readouterr().out == "task: ordinal, for which aptos2019 is published ('task' names another)\n"


def tasks(data: str, **changes: Any) -> set[Any]:
    resolved = resolve_plan(plan(data={"reader": data}, **changes), CommandLine())
    assert resolve_plan(resolved, CommandLine()) == resolved
    return {row.set.get("task") for row in resolved.rows}


def test_rows_of_a_study_take_it() -> None:
    assert published_task("phantom") is None
    assert tasks("phantom") == {None}
    assert tasks("aptos2019") == {"ordinal"}
    rows = [{"name": name, "recipe": name, "set": {"task": "classification"}} for name in ("student", "kd")]
    assert tasks("aptos2019", rows=rows, baseline="student") == {"classification"}
