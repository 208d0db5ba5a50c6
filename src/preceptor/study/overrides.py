"""From a plan and what was said on the command line to a plan whose rows say all there is to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preceptor.recipe import Recipe
from preceptor.recipes.resolve import resolve
from preceptor.study.layers import Layers, resolved
from preceptor.study.matrix import same_run
from preceptor.study.plan import OWN, SETTABLE, DataSet, Plan, Row, Settings, Teacher, validate
from preceptor.study.validation import check_figures
from preceptor.utils.errors import PreceptorError, did_you_mean


@dataclass(frozen=True)
class Asked:
    """What the command line says of a study.

    Attributes:
        quick: whether the plan's ``quick`` section holds.
        reader: another reader than the plan's; its options do not hold then.
        root: the data's folder.
        options: of the reader, on top of the plan's.
        exclude: ids to leave out, beside the plan's.
        overrides: of all rows (with the leniency of the plan's ``set``), and the plan's own :data:`SETTABLE` keys.
    """

    quick: bool = False
    reader: str | None = None
    root: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    exclude: Sequence[str] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)


def settle(plan: Plan, asked: Asked | None = None) -> Plan:
    """The plan with the command line and, if asked for, its ``quick`` section worked into rows, data and folds.

    Raises:
        PreceptorError: an override that no row knows or that changes nothing, or one of a wrong type; a row that names
            a network that it lacks, a column that is no figure of the rows' task, a plan without a quick section that
            is to be quick.
    """
    asked = asked or Asked()
    if asked.quick and plan.quick is None and not plan.is_quick:
        raise PreceptorError(f"plan {plan.name}: has no quick section", remedy="run it without --quick, or write one")
    quick = plan.quick if asked.quick else None
    own = {key: value for key, value in asked.overrides.items() if key in SETTABLE}
    given = {key: value for key, value in asked.overrides.items() if key not in SETTABLE}
    for key in OWN.keys() & given.keys():
        raise PreceptorError(f"{key}: is the plan's own", expected=f"one of {', '.join(SETTABLE)}, or a recipe's key")
    said = plan.plain() | {"quick": plan.is_quick or asked.quick}
    if quick is not None:
        said |= {key: value for key in ("folds", "seeds") if (value := getattr(quick, key)) is not None}
        said["rows"] = [row for row in said["rows"] if quick.rows is None or row["name"] in quick.rows]
    if said["quick"]:
        said["paper"] = []  # not evidence: nothing to set beside published figures
    shrunk = {} if quick is None else quick.set
    base = validate({**said, **own}, f"plan {plan.name}")
    layers = Layers(base, base.set, shrunk, _folds(own) | given)
    data = _data(plan, quick.data if quick is not None else None, asked)
    teacher = base.teacher and _teacher(base.teacher, layers, {} if quick is None else quick.teacher)
    taught = base.model_copy(update={"teacher": teacher})
    found = [_row(row, layers, taught) for row in base.rows]
    rows = [row for row, _ in found]
    for row in [row for row in plan.rows if row.recipe is not None and row.name not in [one.name for one in rows]]:
        layers.used(layers.of(str(row.recipe), row.set))  # left out by quick; what only it knows is no mistake
    layers.refuse_idle()
    check_figures(base, {recipe.task for _, recipe in found})
    tables = [_rows_of(table.model_dump(), base) for table in base.paper if table.data == data.reader]
    settled = base.plain() | {
        "data": data.model_dump(exclude_none=True),
        "set": {},
        "rows": [row.model_dump(exclude_none=True) for row in rows],
        "paper": tables,
    }
    if teacher is not None:
        settled["teacher"] = teacher.model_dump()
    return validate(settled | {"quick": base.is_quick}, f"plan {plan.name}")


def _rows_of(table: dict[str, Any], plan: Plan) -> dict[str, Any]:
    names = {row.name for row in plan.rows}
    return table | {"rows": {name: figures for name, figures in table["rows"].items() if name in names}}


def _folds(own: Settings) -> Settings:
    """``folds=3`` on the command line says how many there are, over whatever the plan and its quick section say."""
    return {"split.folds": own["folds"]} if isinstance(own.get("folds"), int) else {}


def _data(plan: Plan, quick: DataSet | None, asked: Asked) -> DataSet:
    base = quick or plan.data
    if asked.reader is not None and asked.reader != base.reader:
        base = plan.data if asked.reader == plan.data.reader else DataSet(reader=asked.reader)
    return DataSet(
        reader=base.reader,
        root=str(asked.root.expanduser().resolve()) if asked.root is not None else base.root,
        options={**base.options, **asked.options},
        exclude=[*base.exclude, *(one for one in asked.exclude if one not in base.exclude)],
    )


def _teacher(said: Teacher, layers: Layers, quickly: Settings) -> Teacher:
    settings = layers.of(said.recipe, said.set, quickly)
    try:
        layers.refuse_beaten(said.recipe, settings)
    except PreceptorError as error:
        raise _within("teacher", error) from None
    layers.used(settings)
    return Teacher(recipe=said.recipe, set=settings)


def _within(where: str, error: PreceptorError) -> PreceptorError:
    return PreceptorError(f"{where}: {error.what}", expected=error.expected, remedy=error.remedy)


def _row(row: Row, layers: Layers, plan: Plan) -> tuple[Row, Recipe]:
    try:
        if row.teacher:
            assert plan.teacher is not None
            settings, source = {}, plan.teacher.recipe
            recipe = resolve(source, plan.teacher.set)
        else:
            source = str(row.recipe)
            settings = layers.of(source, row.set)
            if plan.teacher is not None:
                settings = _without_vain(row, source, settings, plan)
            recipe = resolve(source, settings)
            layers.refuse_beaten(source, settings)
            layers.used(settings)
        networks = row.networks or [*recipe.ensembles, *recipe.select.networks]
        for name in networks:
            known = [*recipe.networks, *recipe.ensembles]
            if name not in known:
                raise PreceptorError(f"networks: {source} has no {name!r}.{did_you_mean(name, known)}")
    except PreceptorError as error:
        raise _within(f"row {row.name}", error) from None
    return row.model_copy(update={"set": settings, "networks": networks}), recipe


def _without_vain(row: Row, source: str, settings: Settings, plan: Plan) -> Settings:
    """A row's settings, less what the plan says for all rows of a network that its teacher replaces.

    Raises:
        PreceptorError: the row itself says such a thing: it would be called what it is not.
    """
    vain = _in_vain(source, settings, plan)
    for key in vain:
        if key in row.set:
            raise PreceptorError(
                f"set.{key}: the plan's teacher takes the place of that network, so that this changes nothing",
                expected="settings of what this row trains itself; those of the teacher belong to teacher.set",
                remedy="leave it out, give the row a finished teacher (networks.NAME.run), or plan another study",
            )
    return {key: value for key, value in settings.items() if key not in vain}


def _in_vain(source: str, settings: Settings, plan: Plan) -> set[str]:
    """The keys that change the recipe, and not what the study knows its run by."""
    recipe, rest = resolve(source, settings), dict(settings)

    def needless(key: str) -> bool:
        without = resolved(source, {one: value for one, value in rest.items() if one != key})
        return without is not None and same_run(without, recipe, plan)

    while key := next(filter(needless, rest), None):  # two that say the same hide each other while both are there
        del rest[key]
    bare = resolve(source, rest)
    return {key for key in settings.keys() - rest if resolved(source, {**rest, key: settings[key]}) != bare}
