"""A recipe with the loss of this package; its arguments become key=value of the command."""

from __future__ import annotations

from preceptor.recipe import Recipe
from preceptor.recipes.distillation import distil
from preceptor.recipes.registry import register_recipe


@register_recipe(paper="an example, no paper has it")
def tempered_margin(weight: float = 1.0, teacher: str | None = None) -> Recipe:
    """A student under a frozen teacher's labels, logits and margins."""
    return distil({"loss": "tempered_margin", "weight": weight}, teacher=teacher, kd=0.5)
