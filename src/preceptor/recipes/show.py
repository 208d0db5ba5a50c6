"""A recipe as text to read, edit and run."""

from __future__ import annotations

import inspect

from preceptor.recipes.registry import RECIPES
from preceptor.recipes.resolve import resolve, to_yaml


def commented_yaml(source: str, overrides: list[str]) -> str:
    """The resolved recipe as YAML; above it, as comments, what its function says of it."""
    recipe = resolve(source, overrides)
    if source not in RECIPES:
        return to_yaml(recipe)
    spec = RECIPES[source]
    lines = (inspect.getdoc(spec.function) or "").split("\n")
    if spec.arguments:
        lines += ["", f"Arguments: {spec.usage()}"]
    head = "\n".join(f"# {line}".rstrip() for line in lines)
    return f"{head}\n\n{to_yaml(recipe)}"
