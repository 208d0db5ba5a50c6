"""Whether the rows of a plan may stand in one table: tested on the same images, in figures that their task has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from preceptor.evaluation.names import OF_TASK
from preceptor.recipe import Recipe
from preceptor.study.plan import Plan
from preceptor.utils.errors import PreceptorError, did_you_mean


def check_figures(plan: Plan, tasks: set[str]) -> None:
    """Refuses columns, and published figures, that no run of these tasks will have.

    Args:
        tasks: of the rows; several only until :func:`check_comparable` refuses that.

    Raises:
        PreceptorError: names the key, and the nearest figure that there is.
    """
    known = [metric for task, metrics in OF_TASK.items() if task in tasks for metric in metrics]
    named = [("layout.columns", metric) for metric in plan.layout.columns]
    named += [(f"paper, {one.table}", metric) for one in plan.paper for row in one.rows.values() for metric in row]
    for where, metric in named:
        if metric not in known:
            kind = next((f" (it is of {task})" for task, metrics in OF_TASK.items() if metric in metrics), "")
            raise PreceptorError(
                f"plan {plan.name}: {where}: {' and '.join(sorted(tasks))} has no figure {metric!r}{kind}."
                + did_you_mean(metric, known),
                expected=f"one of {', '.join(known)}",
            )


def check_comparable(baseline: str, recipes: Iterable[tuple[str, Recipe]]) -> None:
    """Refuses recipes that do not share split, protocol and task.

    Rows are paired with the baseline fold by fold, and a part that was split otherwise has seen test images.

    Args:
        baseline: the row that the others must agree with.
        recipes: of all cells and of the parts that they need, each with the row's name.

    Raises:
        PreceptorError: names the row and the key.
    """
    first: tuple[str, dict[str, Any]] | None = None
    for row, recipe in sorted(recipes, key=lambda one: one[0] != baseline):
        facts = {"task": recipe.task, "protocol": recipe.protocol}
        facts |= {f"split.{key}": value for key, value in recipe.split.model_dump().items()}
        whose = f"row {row}, recipe {recipe.name}"
        first = first or (whose, facts)
        for key, value in facts.items():
            if value != first[1][key]:
                raise PreceptorError(
                    f"{whose}: {key} is {value}, but {first[1][key]} in {first[0]}",
                    expected="one split, protocol and task for all rows and what they learn from: rows are compared on "
                    "the same test images",
                    remedy=f"say {key} once, in the plan's set, or make two plans",
                )


def alike(cells: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Rows that are one run, in all or some of their cells, by (what the run is known by, name of the row)."""
    rows: dict[str, dict[str, None]] = {}
    for run, row in cells:
        rows.setdefault(run, {})[row] = None
    return [list(names) for names in dict.fromkeys(map(tuple, rows.values())) if len(names) > 1]
