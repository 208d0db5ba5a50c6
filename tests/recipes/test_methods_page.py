"""docs/methods.md names every loss and recipe, with its file and the tasks that it has a form for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from preceptor.losses.registry import LOSSES
from preceptor.recipes.registry import RECIPES
from preceptor.recipes.resolve import resolve
from preceptor.tasks import TASKS
from preceptor.training.checks import check_objectives
from preceptor.utils.errors import PreceptorError

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
#: method, paper, equation, losses, files, recipes, tasks, verified against
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.split("## What depends on what")[0].splitlines()
    if line.startswith("| ") and not line.startswith(("| **", "| method"))
]


def named(column: int) -> set[str]:
    return {name for row in ROWS for name in re.findall(r"`([^`]+)`", row[column])}


def test_every_loss_and_every_recipe_has_a_row() -> None:
    ours = {name for name in LOSSES if LOSSES[name].module.__module__.startswith("preceptor.losses.")}
    assert named(3) == ours
    assert named(5) == {name for name in RECIPES if RECIPES[name].function.__module__.startswith("preceptor.")}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_says_what_is_so(row: list[str]) -> None:
    """Its files hold its losses, and its tasks are those of its recipes."""
    assert len(row) == 8
    losses, recipes = (re.findall(r"`([^`]+)`", row[column]) for column in (3, 5))
    files = {f"losses/{LOSSES[name].module.__module__.split('.')[-1]}.py" for name in losses}
    assert set(re.findall(r"`([^`]+)`", row[4])) == files
    assert set(row[6].split(", ")) == ({task for name in recipes for task in tasks_of(name)} or {"by objective"})
    used = {term.loss for name in recipes for term in resolve(name).objectives}
    assert not recipes or set(losses) & used


def tasks_of(name: str) -> list[str]:
    able = []
    for task in TASKS:
        try:
            check_objectives(resolve(name, {"task": task}))
        except PreceptorError:
            continue
        able.append(task)
    return able


def test_what_depends_on_what_is_so() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith(("- **Compare", "- **Depend"))]
    places, batch = (set(re.findall(r"`(\w+)`", line)) for line in lines)
    ours = [name for name in LOSSES if LOSSES[name].module.__module__.startswith("preceptor.losses.")]
    assert places == {name for name in ours if LOSSES[name].compares_places}
    assert batch == {name for name in ours if LOSSES[name].relates_images}
