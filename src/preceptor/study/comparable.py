"""Whether the rows of a plan may stand in one table: tested on the same images of one task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from preceptor.errors import PreceptorError
from preceptor.recipe import Recipe


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
