"""Merge a plan, its quick section and the command line into a resolved plan, whose rows state every setting they have.

Of settings of one key the later wins: the plan's ``set``, the row's own ``set``, ``quick.set`` (of the teacher also
``quick.teacher``), the command line. Study-wide settings reach the recipes that have such a key. Refused are a setting
that no recipe has, and one that has no effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preceptor.recipe import Recipe
from preceptor.recipes.registry import RECIPES
from preceptor.recipes.resolve import resolve
from preceptor.study.matrix import same_run
from preceptor.study.plan import RESERVED, SETTABLE, DataSet, Plan, Row, Settings, Teacher, validate
from preceptor.study.validation import check_columns, default_columns
from preceptor.tasks.published import published_task
from preceptor.utils.errors import PreceptorError, UnknownKeyError, did_you_mean, prefix_errors

#: Keys that decide which other keys their section has.
KINDS = ("optimiser.name", "schedule.name")


@dataclass(frozen=True)
class CommandLine:
    """What the command line changes in a plan.

    Attributes:
        quick: whether to apply the plan's ``quick`` section.
        reader: replaces the plan's reader together with its options.
        root: folder of the data.
        options: options of the reader, on top of the plan's.
        exclude: ids to leave out, besides the plan's.
        overrides: recipe settings for all rows, and the plan's own :data:`SETTABLE` keys.
    """

    quick: bool = False
    reader: str | None = None
    root: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    exclude: Sequence[str] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)


def resolve_plan(plan: Plan, command: CommandLine | None = None) -> Plan:
    """Apply the command line and, if asked for, the ``quick`` section to a plan's data, folds, teacher and rows.

    Resolving a resolved plan again changes nothing.

    Raises:
        PreceptorError: a setting that no row has, that has no effect, or of a wrong type; a row whose ``networks``
            lists a network that it lacks; a column that is no metric of the task; ``quick`` without a quick section.
    """
    command = command or CommandLine()
    if command.quick and plan.quick is None and not plan.is_quick:
        raise PreceptorError(f"plan {plan.name}: has no quick section", remedy="run it without --quick, or write one")
    quick = plan.quick if command.quick else None
    own = {key: value for key, value in command.overrides.items() if key in SETTABLE}
    given = {key: value for key, value in command.overrides.items() if key not in SETTABLE}
    for key in RESERVED.keys() & given.keys():
        raise PreceptorError(f"{key}: is set by the plan", expected=f"one of {', '.join(SETTABLE)}, or a recipe's key")
    fields = plan.plain() | {"quick": plan.is_quick or command.quick}
    if quick is not None:
        fields |= {key: value for key in ("folds", "seeds") if (value := getattr(quick, key)) is not None}
        fields["rows"] = [row for row in fields["rows"] if quick.rows is None or row["name"] in quick.rows]
    if "rows" in own:
        fields["rows"] = _some_rows(plan, fields["rows"], own.pop("rows"))
    base = validate({**fields, **own, "paper": []}, f"plan {plan.name}")
    if isinstance(own.get("folds"), int):  # folds=3 is the number of folds, a list is some of them
        given = {"split.folds": own["folds"], **given}
    data = _data(plan, quick.data if quick else None, command)
    layers = Layers(base, quick.set if quick else {}, given, published_task(data.reader))
    teacher = base.teacher and layers.teacher(base.teacher, quick.teacher if quick else {})
    base = base.model_copy(update={"teacher": teacher})
    resolved = [layers.row(row, base) for row in base.rows]
    for row in plan.rows:  # those that quick leaves out: a setting that only they have is no mistake
        if row.recipe is not None and row.name not in [other.name for other in base.rows]:
            layers.used(layers.merge(row.recipe, row.set))
    layers.refuse_unused()
    tasks = {recipe.task for _, recipe in resolved}
    settings = {row.name: row.model_dump(exclude_none=True) for row, _ in resolved}
    result = base.plain() | {
        "data": data.model_dump(exclude_none=True),
        "set": {},
        "rows": list(settings.values()),
        "layout": (base.layout or default_columns(tasks)).model_dump(),
        "paper": []
        if base.is_quick  # no evidence, so nothing to compare with published results
        else [
            table.model_dump() | {"rows": {name: row for name, row in table.rows.items() if name in settings}}
            for table in plan.paper
            if table.data == data.reader
        ],
    }
    if quick is not None and quick.data is not None:
        result.pop("external", None)  # its classes are not those of these data
    check_columns(plan, tasks)
    if teacher is not None:
        result["teacher"] = teacher.model_dump()
    return validate(result | {"quick": base.is_quick}, f"plan {plan.name}")


def _some_rows(plan: Plan, rows: list[dict[str, Any]], names: object) -> list[dict[str, Any]]:
    """Return the rows that ``rows=[A,B]`` names, in the plan's order."""
    wanted = [names] if isinstance(names, str) else names
    known = [str(row["name"]) for row in rows]
    if not isinstance(wanted, list) or not wanted:
        raise PreceptorError(f"rows={names}", expected=f"some of the rows of plan {plan.name}: {', '.join(known)}")
    for name in map(str, wanted):
        if name not in known:
            raise PreceptorError(
                f"rows: plan {plan.name} has no row {name!r}.{did_you_mean(name, known)}",
                expected=f"some of {', '.join(known)}",
            )
    return [row for row in rows if row["name"] in {str(name) for name in wanted}]


def _data(plan: Plan, quick: DataSet | None, command: CommandLine) -> DataSet:
    base = quick or plan.data
    if command.reader is not None and command.reader != base.reader:
        base = plan.data if command.reader == plan.data.reader else DataSet(reader=command.reader)
    return DataSet(
        reader=base.reader,
        root=str(command.root.expanduser().resolve()) if command.root is not None else base.root,
        options={**base.options, **command.options},
        exclude=list(dict.fromkeys([*base.exclude, *command.exclude])),
    )


class Layers:
    """Study-wide settings: the plan's below each row's own, those of ``quick`` and of the command line above.

    Shipped recipes take ``task``, for which the data set is published, where no setting names one.
    """

    def __init__(self, plan: Plan, quick: Settings, command: Mapping[str, Any], task: str | None = None) -> None:
        self._plan, self._quick, self._command, self._task = plan, quick, dict(command), task
        self._unused: dict[str, Any] = {**plan.set, **quick, **command}

    def merge(self, source: str, own: Settings, own_quick: Settings | None = None) -> Settings:
        """Settings of a row or the teacher in order of precedence, without study-wide ones its recipe does not have."""
        exact = {**own, **(own_quick or {})}
        merged: Settings = {}
        for layer in (self._plan.set, own, self._quick, own_quick or {}, self._command):
            for key, value in layer.items():
                merged.pop(key, None)  # moved to the end: between a key and its parts, the later one wins
                merged[key] = value
        if self._task not in (None, "classification") and source in RECIPES:
            merged = {"task": self._task, **merged}
        modes = {key: value for key, value in merged.items() if key not in exact and _names_networks(key, value)}
        merged = {key: value for key, value in merged.items() if key not in modes}
        if _has_unknown_key(source, merged):
            first = {*exact, *_arguments(source), *KINDS}
            base = {key: value for key, value in merged.items() if key in first}
            merged = {
                key: value
                for key, value in merged.items()
                if key in exact or not _has_unknown_key(source, {**base, key: value})
            }
        return {**merged, **_fitting_modes(source, merged, modes)}

    def teacher(self, teacher: Teacher, quick: Settings) -> Teacher:
        settings = self.merge(teacher.recipe, teacher.set, quick)
        with prefix_errors("teacher"):
            self._refuse_shadowed(teacher.recipe, settings)
        self.used(settings)
        return Teacher(recipe=teacher.recipe, set=settings)

    def row(self, row: Row, plan: Plan) -> tuple[Row, Recipe]:
        """The row with all its settings, and its recipe; ``plan`` has the teacher's settings already."""
        with prefix_errors(f"row {row.name}"):
            if row.teacher:
                assert plan.teacher is not None
                source, settings = plan.teacher.recipe, {}
                recipe = resolve(source, plan.teacher.set)
            else:
                source = str(row.recipe)
                settings = self.merge(source, row.set)
                if plan.teacher is not None:
                    settings = _without_replaced(row, source, settings, plan)
                recipe = resolve(source, settings)
                self._refuse_shadowed(source, settings)
                self.used(settings)
            networks = row.networks or [*recipe.ensembles, *recipe.select.networks]
            known = [*recipe.networks, *recipe.ensembles]
            for name in networks:
                if name not in known:
                    raise PreceptorError(f"networks: {source} has no {name!r}.{did_you_mean(name, known)}")
        return row.model_copy(update={"set": settings, "networks": networks}), recipe

    def used(self, settings: Settings) -> None:
        for key in settings:
            self._unused.pop(key, None)

    def refuse_unused(self) -> None:
        """Raise for a study-wide setting that no row has, in the words of the first recipe that refuses it."""
        for key, value in self._unused.items():
            outcomes = [_try(row.recipe, {key: value}) for row in self._plan.rows if row.recipe is not None]
            refusals = [outcome for outcome in outcomes if isinstance(outcome, PreceptorError)]
            if refusals and len(refusals) == len(outcomes):
                raise refusals[0]
            raise PreceptorError(
                f"{key}: changes nothing in any row: the plan's teacher takes the place of the network it sets",
                remedy="set it for the teacher's own network, as in networks.teacher.backbone=resnet50",
            )

    def _refuse_shadowed(self, source: str, settings: Settings) -> None:
        """Raise if a study-wide argument has no effect because a dotted key sets the same thing otherwise."""
        for key in ({**self._quick, **self._command}.keys() & _arguments(source)) & settings.keys():
            endings = (f".{key}", f".{key.replace('_', '.')}")
            exact = [other for other in settings if other.endswith(endings) and settings[other] != settings[key]]
            if exact and _try(source, _without(settings, key)) == resolve(source, settings):
                raise PreceptorError(
                    f"{key}={settings[key]} has no effect, because the more specific {exact[0]}={settings[exact[0]]} "
                    "is set too",
                    expected="study-wide settings that hold in every row that has them",
                    remedy=f"set {exact[0]}={settings[key]} instead",
                )


def _names_networks(key: str, value: object) -> bool:
    return key.startswith("precision.") or (key == "precision" and isinstance(value, Mapping))


def _fitting_modes(source: str, settings: Settings, modes: Settings) -> Settings:
    """Of study-wide modes of single networks those of networks that a recipe has and that can run in them.

    A teacher that runs in ``bf16+folded`` in most rows learns in its own, where no batch norm can be folded.
    """
    recipe = _try(source, settings) if modes else None
    if not isinstance(recipe, Recipe):
        return modes
    fitting: Settings = {}
    for key, value in modes.items():
        if not isinstance(value, Mapping):
            fitting |= {key: value} if _can_run(recipe, key.removeprefix("precision."), value) else {}
        elif own := {name: mode for name, mode in value.items() if _can_run(recipe, name, mode)}:
            fitting[key] = own
    return fitting


def _can_run(recipe: Recipe, network: str, mode: object) -> bool:
    return network in recipe.networks and not ("folded" in str(mode) and recipe.networks[network].frozen is not True)


def _without_replaced(row: Row, source: str, settings: Settings, plan: Plan) -> Settings:
    """A row's settings, less study-wide ones of a network that the plan's teacher replaces.

    Raises:
        PreceptorError: the row itself has such a setting: its name would promise what it is not.
    """
    recipe, rest = resolve(source, settings), dict(settings)

    def changes_nothing(key: str) -> bool:
        without = _try(source, _without(rest, key))
        return isinstance(without, Recipe) and same_run(without, recipe, plan)

    while key := next(filter(changes_nothing, rest), None):  # two keys that set the same hide each other
        del rest[key]
    bare = resolve(source, rest)
    replaced = {key for key in settings if key not in rest and _try(source, {**rest, key: settings[key]}) != bare}
    for key in replaced & row.set.keys():
        raise PreceptorError(
            f"set.{key}: has no effect, the plan's teacher takes the place of that network",
            expected="settings of what this row trains itself; those of the teacher belong to teacher.set",
            remedy="leave it out, give the row a finished teacher (networks.NAME.run), or plan another study",
        )
    return {key: value for key, value in settings.items() if key not in replaced}


def _without(settings: Settings, key: str) -> Settings:
    return {other: value for other, value in settings.items() if other != key}


def _try(source: str, settings: Settings) -> Recipe | PreceptorError:
    try:
        return resolve(source, settings)
    except PreceptorError as error:
        return error


def _has_unknown_key(source: str, settings: Settings) -> bool:
    return isinstance(_try(source, settings), UnknownKeyError)


def _arguments(source: str) -> set[str]:
    is_file = source.endswith((".yaml", ".yml")) or "/" in source
    return set() if is_file else set(RECIPES[source].arguments)
