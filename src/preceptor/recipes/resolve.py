"""From what the user typed (a name or a file, and key=value …) to one whole recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from preceptor.data.policy import POLICIES
from preceptor.recipe import Recipe
from preceptor.recipes.messages import as_preceptor_error
from preceptor.recipes.overrides import split_overrides
from preceptor.recipes.registry import RECIPES
from preceptor.tasks import TASKS, Task
from preceptor.utils.errors import PreceptorError, UnknownKeyError, did_you_mean, prefix_errors
from preceptor.utils.plain_yaml import dump_yaml, load_yaml
from preceptor.utils.text_files import read_text

#: Sections that are one of several kinds: setting ``name`` to another kind starts from that kind's own defaults.
_KINDS = ("optimiser", "critic_optimiser", "schedule")


def resolve(source: str, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Recipe:
    """The recipe called ``source`` (or the YAML file at that path) with overrides merged in.

    Keys are dotted (``networks.teacher.backbone=resnet50``); objectives are reached by name
    (``objectives.kl.weight=0.5``). A shipped recipe's own arguments (``temperature=4``) are overrides too.

    Args:
        overrides: ``key=value`` texts, or dotted keys with their values.

    Raises:
        PreceptorError: names the key that is unknown or wrong, what was expected, and the nearest known key.
    """
    pairs, _ = split_overrides(overrides)
    if source.endswith((".yaml", ".yml")) or "/" in source:
        return validate(_merge(validate(_read_yaml(Path(source)), source), pairs, source), source)
    where, spec = f"recipe {source}", RECIPES[source]
    base = spec(**{key: value for key, value in pairs.items() if key in spec.arguments})
    task = TASKS[pairs.get("task", base.task)]
    if task.name != base.task and task.trains_like(TASKS[base.task]):
        headline = {} if base.select.metric == "last" else {"select.metric": task.headline}
        pairs = {**headline, **pairs}
    elif task.name != base.task:
        raise PreceptorError(
            f"{where}: has no form for the task {pairs['task']!r}, it is for {base.task}",
            expected=f"for {task.label} one of {', '.join(_recipes_for(task))}",
        )
    rest = {key: value for key, value in pairs.items() if key not in spec.arguments}
    try:
        return validate(_merge(base, rest, where), where)
    except UnknownKeyError as error:
        if not spec.arguments:
            raise
        hint = "" if error.suggestion else did_you_mean(error.key, spec.arguments)
        expected = f"{error.expected}; arguments of {source}: {', '.join(spec.arguments)}"
        known = (*error.known, *spec.arguments)
        raise UnknownKeyError(error.what + hint, key=error.key, known=known, expected=expected) from None


def _recipes_for(task: Task) -> list[str]:
    """Names of the recipes that have a form for a task."""
    names = []
    for name in sorted(RECIPES):
        spec = RECIPES[name]
        with suppress(PreceptorError):
            recipe = spec(task=task.name) if "task" in spec.arguments else spec()
            if task.trains_like(TASKS[recipe.task]):
                task.check_recipe(recipe)
                names.append(name)
    return names


def validate(data: dict[str, Any], where: str) -> Recipe:
    """A recipe from plain data; one :class:`PreceptorError` that names the key otherwise."""
    if not isinstance(data, dict):
        raise PreceptorError(f"{where}: is not a recipe", expected="a mapping with networks, views and objectives")
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        raise as_preceptor_error(error, where, Recipe, data) from None
    with prefix_errors(where):
        TASKS[recipe.task].check_recipe(recipe)
    return recipe


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML that ``preceptor train`` accepts again; networks and objectives one per line."""
    lines: list[str] = []
    for key, value in recipe.plain().items():
        if key == "objectives":
            lines += ["objectives:", *(f"  - {_flow(term)}" for term in value)]
        elif key in ("networks", "views"):
            lines += [f"{key}:", *(f"  {name}: {_flow(entry)}" for name, entry in value.items())]
        else:
            lines.append(f"{key}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    return dump_yaml(value, flow=True, width=10_000).removesuffix("\n").removesuffix("\n...")


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise PreceptorError(
            f"{path}: no such recipe file", remedy="preceptor recipes lists the shipped ones; show NAME prints one"
        )
    expected = "a recipe as preceptor recipes show prints"
    return load_yaml(read_text(path, expected), str(path), expected)  # type: ignore[no-any-return]


def _merge(base: Recipe, changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``base`` with the changes, objectives travelling as a mapping by name."""
    plain = base.plain()
    plain["objectives"] = {term.get("name") or term["loss"]: dict(term) for term in plain["objectives"]}
    plain["networks"] = {name: dict(network) for name, network in plain["networks"].items()}
    plain["views"] = {name: {"policy": v} if isinstance(v, str) else dict(v) for name, v in plain["views"].items()}
    for key, value in changes.items():
        _check_place(key, plain, where)
        section, _, leaf = key.partition(".")
        if section in _KINDS and leaf == "name" and plain.get(section, {}).get("name") != value:
            plain[section] = {"name": value}
    for key, value in sorted(changes.items(), key=lambda pair: not pair[0].endswith(".run")):
        _set(plain, key.split("."), value)
    for name, objective in plain["objectives"].items():
        if not isinstance(objective, dict):
            raise PreceptorError(f"{where}: 'objectives.{name}' is {objective!r}", expected="a mapping, as in its YAML")
    return {**plain, "objectives": [{"name": name, **objective} for name, objective in plain["objectives"].items()]}


def _check_place(key: str, plain: dict[str, Any], where: str) -> None:
    """An override changes what is there; a new network or objective from a typo would train something else."""
    section, *rest = key.split(".")
    if section in ("networks", "views", "objectives") and not rest:
        raise PreceptorError(f"{where}: {key!r} as a whole cannot be set on the command line", remedy="edit its YAML")
    if section in ("networks", "views", "objectives") and rest[0] not in plain[section]:
        known = list(plain[section])
        raise UnknownKeyError(
            f"{where}: unknown key {key!r}.{did_you_mean(rest[0], known)}",
            key=f"{section}.{rest[0]}",
            known=known,
            expected=f"{section}.NAME with NAME one of {', '.join(known)}",
        )


def _set(plain: dict[str, Any], path: list[str], value: Any) -> None:
    """A network from a run drops what said where it came from and how it is built; a view with a new origin all."""
    here = plain
    for part in path[:-1]:
        here[part] = _opened(part, here.get(part))
        here = here[part]
    if path[0] == "networks" and path[-1] == "run" and value is not None:
        for old in ("trained_by", "backbone", "pretrained", "bottleneck", "map_channels", "dropout", "heads"):
            here.pop(old, None)
    if path[0] == "views" and len(path) == 3 and path[-1] in ("policy", "same_as"):
        here.clear()
    here[path[-1]] = value


def _opened(key: str, value: Any) -> dict[str, Any]:
    """What a key holds as a mapping to be changed: a policy's or recipe's name stands for all that it says."""
    if key == "policy" and isinstance(value, str):
        return POLICIES[value].model_dump()
    if key == "trained_by" and isinstance(value, str):
        return {"recipe": value}
    return dict(value) if isinstance(value, dict) else {}
