"""Recipes of runs of format 1, read with the names of the present one."""

from __future__ import annotations

from typing import Any

from preceptor.recipe import Recipe
from preceptor.recipes.resolve import validate
from preceptor.utils.errors import PreceptorError
from preceptor.utils.plain_yaml import load_yaml


def recipe_from_yaml(text: str, where: str) -> Recipe:
    """Return the recipe that a run stores.

    Args:
        text: ``recipe.yaml``.
        where: the file, for messages.

    Raises:
        PreceptorError: no YAML, or not a recipe that this version knows; names the file and the key.
    """
    content = load_yaml(text, where, "a recipe: keys and values")
    if not isinstance(content, dict):
        raise PreceptorError(f"{where} holds a {type(content).__name__}", expected="a recipe: keys and values")
    return validate(_renamed(content), where)


def _renamed(content: dict[str, Any]) -> dict[str, Any]:
    """``also`` of a view is now ``extra_transforms``."""
    views = content.get("views")
    if not isinstance(views, dict):
        return content
    renamed = {
        name: {("extra_transforms" if key == "also" else key): value for key, value in view.items()}
        if isinstance(view, dict)
        else view
        for name, view in views.items()
    }
    return {**content, "views": renamed}
