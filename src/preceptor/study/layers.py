"""Which word holds where a plan, a row, ``quick`` and the command line say the same key of a recipe."""

from __future__ import annotations

from preceptor.recipe import Recipe
from preceptor.recipes.registry import RECIPES
from preceptor.recipes.resolve import resolve
from preceptor.study.plan import Plan, Settings
from preceptor.utils.errors import PreceptorError


class Layers:
    """Settings of all rows: the plan's below each row's own, those of ``quick`` and of the command above it."""

    def __init__(self, plan: Plan, below: Settings, quick: Settings, command: Settings) -> None:
        self._plan, self._below, self._quick, self._command = plan, below, quick, command
        self._idle = {*below, *quick, *command}

    def of(self, source: str, own: Settings, quickly: Settings | None = None) -> Settings:
        """What holds for a row, or the teacher, with this recipe; ``quickly`` is its own too, above ``quick``."""
        layers = [(self._below, True), (own, False), (self._quick, True), (quickly or {}, False), (self._command, True)]
        wanted = {key: value for layer, _ in layers for key, value in layer.items()}
        base = resolve(source, {key: value for key, value in wanted.items() if key in _arguments(source)})
        settings: Settings = {}
        for layer, for_all in layers:
            for key, value in layer.items():
                if for_all and not _knows(source, base, key):
                    continue
                settings.pop(key, None)  # so that a later word comes later: order decides between a key and its parts
                settings[key] = value
        return settings

    def used(self, settings: Settings) -> None:
        """These hold somewhere, so that who said them for all rows was not mistaken."""
        self._idle -= settings.keys()

    def refuse_beaten(self, source: str, settings: Settings) -> None:
        """Raises for a word over all rows that does nothing here, since a more exact one stands below it."""
        for key in {**self._quick, **self._command}.keys() & _arguments(source):
            exact = _beaten_by(key, source, settings)
            if exact is not None:
                raise PreceptorError(
                    f"{key}={settings[key]} changes nothing here, because {exact}={settings[exact]} is said too and "
                    "is more exact",
                    expected="settings for all rows that hold in every row which knows them",
                    remedy=f"say {exact}={settings[key]} instead",
                )

    def refuse_idle(self) -> None:
        """Raises for a key that no row uses; the first recipe says what is wrong with it."""
        for key in sorted(self._idle):
            said = {key: {**self._below, **self._quick, **self._command}[key]}
            refused = [_refusal(row.recipe, said) for row in self._plan.rows if row.recipe is not None]
            if refused and refused[0] is not None and None not in refused:
                raise refused[0]
            raise PreceptorError(
                f"{key}: changes nothing in any row: the plan's teacher takes the place of what it says",
                remedy="say it of the teacher's own network, as in networks.teacher.backbone=resnet50",
            )


def _beaten_by(key: str, source: str, settings: Settings) -> str | None:
    """The dotted key that says the same as an argument, and otherwise, so that the argument does nothing."""
    ends = (f".{key}", f".{key.replace('_', '.')}")
    exact = [one for one, value in settings.items() if one.endswith(ends) and value != settings.get(key)]
    if key not in settings or not exact:
        return None
    without = resolved(source, {one: value for one, value in settings.items() if one != key})
    return exact[0] if without == resolve(source, settings) else None


def resolved(source: str, settings: Settings) -> Recipe | None:
    """None where some settings stand on others that are not there."""
    try:
        return resolve(source, settings)
    except PreceptorError:
        return None


def _arguments(source: str) -> set[str]:
    return set(RECIPES[source].arguments) if not _is_file(source) else set()


def _is_file(source: str) -> bool:
    return source.endswith((".yaml", ".yml")) or "/" in source


def _knows(source: str, recipe: Recipe, key: str) -> bool:
    """Whether a key is an argument of the recipe, a setting of all recipes, or of something that this one has."""
    if key in _arguments(source):
        return True
    section, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    if section in ("networks", "views"):
        return name in getattr(recipe, section)
    if section == "objectives":
        return name in [one.name for one in recipe.objectives]
    return section in Recipe.model_fields


def _refusal(source: str, settings: Settings) -> PreceptorError | None:
    try:
        resolve(source, settings)
    except PreceptorError as error:
        return error
    return None
