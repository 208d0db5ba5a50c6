"""The reference, all of it from the code: functions, commands, keys of recipes and plans, a run's files, readers."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import preceptor
from preceptor.cli import app
from preceptor.data.policy import POLICIES, Policy
from preceptor.data.readers import READERS
from preceptor.evaluation.metrics import METRICS
from preceptor.losses.registry import LOSSES
from preceptor.recipe import Recipe, Select, Split, optimisation
from preceptor.recipe.network import NetworkConfig, TrainedBy
from preceptor.recipe.objective import Objective, Ramp, Steps
from preceptor.recipe.view import View
from preceptor.runs.schema import DataRecord, Environment, Metrics, ModeRecord, NetworkResult
from preceptor.study import plan
from preceptor.tasks import TASKS

_NOTE = "Generated from the code.\n"


def pages() -> dict[str, str]:
    """File → Markdown."""
    return {
        "reference/api.md": _api(),
        "reference/losses.md": _losses(),
        "reference/cli.md": _cli(),
        "reference/recipe.md": _recipe(),
        "reference/plan.md": _plan(),
        "reference/run-directory.md": _run_directory(),
        "reference/readers.md": _readers(),
        "reference/metrics.md": _metrics(),
    }


def _api() -> str:
    names = [name for name in preceptor.__all__ if name in preceptor._FUNCTIONS]
    identifiers = [f"preceptor.api.{preceptor._FUNCTIONS[name]}.{name}" for name in names]
    commands = "Each command but `demo`, `recipes` and `data` is a function of `preceptor`, with the same arguments."
    head = f"# Python\n\n{commands}\n"
    further = ["preceptor.runs.directory.Run", "preceptor.testing.check_loss"]
    return "\n\n".join([head, *(f"::: {name}" for name in (*identifiers, *further))]) + "\n"


def _losses() -> str:
    head = "# Losses\n\nOrdinary modules for any loop: tensors in, scalar out. Headings are their names in recipes.\n"
    parts = []
    for name in sorted(LOSSES):
        module = LOSSES[name].module
        feeds = ", ".join(f"`{argument}` ← `{source}`" for argument, source in LOSSES[name].feeds.items())
        parts.append(f"## `{name}`\n\nIn a recipe: {feeds}.\n\n::: {module.__module__}.{module.__name__}")
    return "\n\n".join([head, *parts]) + "\n"


def _cli() -> str:
    root = typer.main.get_command(app)
    parts = ["# Commands", "`preceptor -h` lists them. " + _NOTE]
    for words, command in _commands(root, ()):
        rows = [
            (_option(parameter), _text(getattr(parameter, "help", "") or ""), _shown(parameter.default))
            for parameter in command.params
            if parameter.name not in ("help", "install_completion", "show_completion")
        ]
        parts += [f"## preceptor {' '.join(words)}", _text(command.help or "")]
        parts += [_table(("argument or option", "meaning", "default"), rows)] if rows else []
    return "\n\n".join(parts) + "\n"


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, below in sorted(getattr(command, "commands", {}).items()):
        yield (*words, name), below
        yield from _commands(below, (*words, name))


def _option(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{(parameter.metavar or parameter.name).upper() if not parameter.metavar else parameter.metavar}`"
    return ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))


def _recipe() -> str:
    kinds = [
        optimisation.Adam, optimisation.AdamW, optimisation.SGD, optimisation.OneCycle, optimisation.Cosine,
        optimisation.MultiStep, optimisation.Exponential, optimisation.Plateau, optimisation.Constant,
    ]  # fmt: skip
    policies = "\n\n".join(["## Policies", f"Names that a view's `policy` may have: {_codes(POLICIES)}."])
    sections = [Recipe, NetworkConfig, TrainedBy, View, Objective, Ramp, Steps, *kinds, Split, Select]
    parts = ["# Keys of a recipe", _NOTE, *(_section(kind) for kind in sections), policies, _section(Policy)]
    return "\n\n".join(parts) + "\n"


def _plan() -> str:
    sections = [plan.Plan, plan.DataSet, plan.Row, plan.Teacher, plan.Layout, plan.Paper, plan.External, plan.Quick]
    return "\n\n".join(["# Keys of a study plan", _NOTE, *(_section(kind) for kind in sections)]) + "\n"


def _run_directory() -> str:
    head = "[Training](../guide-training.md#what-a-run-holds) lists the files; these are the JSON ones, key by key."
    sections = [_section(kind) for kind in (Environment, DataRecord, ModeRecord, Metrics, NetworkResult)]
    return "\n\n".join(["# Run directory", head, *sections]) + "\n"


def _section(kind: type[BaseModel]) -> str:
    """A model: what its docstring says, and its keys with type and default."""
    text = inspect.cleandoc(kind.__doc__ or "")
    before, _, attributes = text.partition("Attributes:")
    meanings = dict(re.findall(r"^    (\w+): ((?:.|\n        )+)", attributes, re.MULTILINE))
    rows = []
    for name, field in kind.model_fields.items():
        default = field.get_default(call_default_factory=True)
        row = (f"`{field.alias or name}`", _type(field.annotation), _shown(default))
        rows.append((*row, _text(" ".join(meanings.get(name, "").split()))) if meanings else row)
    header = ("key", "values", "default", *(("meaning",) if meanings else ()))
    return "\n\n".join([f"## {kind.__name__}", before.strip(), _table(header, rows)])


def _readers() -> str:
    parts = ["# Readers", "What `--data` may name. " + _NOTE]
    for name in sorted(READERS):
        spec = READERS[name]
        about = [spec.about.title, f"groups: {spec.about.groups}"]
        about += [f"images: {spec.about.images}"] if spec.about.images else []
        about += [f"licence: {spec.about.licence}"] if spec.about.licence else []
        rows = [
            (f"`data.{option}`", _type(kind), _shown(spec.defaults.get(option, PydanticUndefined)))
            for option, kind in spec.options.items()
        ]
        parts += [f"## `{name}`", "; ".join(filter(None, about)) + ".", f"Layout: {_text(spec.layout)}."]
        parts += [_table(("option", "values", "default"), rows)] if rows else []
    return "\n\n".join(parts) + "\n"


def _metrics() -> str:
    parts = ["# Metrics and tasks", _NOTE]
    for name in TASKS:
        task = TASKS[name]
        rows = [
            (f"`{key}`", metric.label, "higher" if metric.higher_is_better else "lower")
            for key, metric in task.metrics.items()
        ]
        parts += [f"## `{name}`", f"Headline: `{task.headline}`, {METRICS[task.headline].label}."]
        parts += [_table(("key", "metric", "better"), rows)]
    return "\n\n".join(parts) + "\n"


def _type(annotation: Any) -> str:
    """A type as the values that it allows."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(argument) for argument in arguments))
    if origin in (list, tuple):
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"mapping of {_type(arguments[0])} to {_type(arguments[1])}"
    words = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", type(None): "nothing"}
    return words.get(
        annotation, f"[{annotation.__name__}](#{annotation.__name__.lower()})" if _linked(annotation) else "any"
    )


def _linked(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def _shown(default: Any) -> str:
    if default is PydanticUndefined or default is inspect.Parameter.empty:
        return "required"
    if default is None or default in ("", (), [], {}):
        return ""
    if isinstance(default, BaseModel):
        return f"`{type(default).__name__}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _text(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
