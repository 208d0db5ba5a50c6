"""How a recipe function makes itself known, and what can be asked of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from preceptor.recipe import Recipe
from preceptor.recipes.messages import as_preceptor_error
from preceptor.utils.registry import Registry

RecipeFunction = Callable[..., Recipe]


@dataclass(frozen=True)
class RecipeSpec:
    """A shipped recipe: its function, the paper it is from and, as arguments, what it can be asked for."""

    name: str
    function: RecipeFunction
    paper: str
    without: frozenset[str] = frozenset()

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").split("\n")[0]

    def usage(self) -> str:
        """The arguments as ``name=default``, for people."""
        return ", ".join(f"{name}={argument.default}" for name, argument in self.arguments.items())

    @cached_property
    def arguments(self) -> Mapping[str, inspect.Parameter]:
        parameters = inspect.signature(self.function).parameters
        return {name: argument for name, argument in parameters.items() if name not in self.without}

    @cached_property
    def _schema(self) -> type[BaseModel]:
        """The arguments with their types; built once, since a study resolves its recipes hundreds of times."""
        hints = get_type_hints(self.function, include_extras=True)
        fields: dict[str, Any] = {name: (hints.get(name, Any), arg.default) for name, arg in self.arguments.items()}
        return create_model(self.name, __config__=ConfigDict(extra="forbid", strict=True), **fields)

    def __call__(self, **given: Any) -> Recipe:
        """The recipe for these arguments. Raises :class:`PreceptorError` for a wrong type or value."""
        where = f"recipe {self.name}"
        try:
            checked = self._schema.model_validate(given)
        except ValidationError as error:
            raise as_preceptor_error(error, where, self._schema) from None
        try:
            recipe = self.function(**{name: getattr(checked, name) for name in self.arguments})
        except ValidationError as error:  # an argument that its type allows and a part of the recipe does not
            raise as_preceptor_error(error, where, Recipe) from None
        return recipe.model_copy(update={"name": self.name, "paper": self.paper})


def _load_ours() -> None:
    package = import_module("preceptor.recipes")
    for module in iter_modules(package.__path__):
        import_module(f"preceptor.recipes.{module.name}")


RECIPES: Registry[RecipeSpec] = Registry("recipe", "preceptor.recipes", _load_ours)


def register_recipe(
    paper: str, name: str | None = None, without: Iterable[str] = ()
) -> Callable[[RecipeFunction], RecipeFunction]:
    """Decorator: the function becomes a recipe under its own name (or ``name``), from ``paper``.

    Args:
        without: arguments of the function that this recipe has no use for, and therefore does not take.
    """

    def decorate(function: RecipeFunction) -> RecipeFunction:
        known_as = name or function.__name__
        RECIPES.add(known_as, RecipeSpec(known_as, function, paper, frozenset(without)), function)
        return function

    return decorate
