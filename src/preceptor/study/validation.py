"""Check before training that the rows of a plan may stand in one table, and that nothing they need is missing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from preceptor.data.catalog import Catalog
from preceptor.evaluation.metrics import METRICS
from preceptor.networks.find_network import find_network
from preceptor.recipe import Recipe
from preceptor.study.plan import Layout, Plan
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError, did_you_mean, prefix_errors

if TYPE_CHECKING:
    from preceptor.runs.dependencies import PlannedRun
    from preceptor.study.matrix import Cell, Matrix


def default_columns(tasks: set[str]) -> Layout:
    """The main metrics of the rows' task."""
    task = TASKS[min(tasks)]  # several are refused by check_comparable
    return Layout(columns={key: METRICS[key].label for key in dict.fromkeys((task.headline, *task.summary))})


def check_columns(plan: Plan, tasks: set[str]) -> None:
    """Refuse columns, and published results, that are no metric of the rows' tasks.

    Raises:
        PreceptorError: names the key and the nearest metric.
    """
    known = [metric for task in sorted(tasks) for metric in TASKS[task].metrics]
    named = [("layout.columns", metric) for metric in (plan.layout.columns if plan.layout else ())]
    named += [
        (f"paper, {table.table}", metric) for table in plan.paper for row in table.rows.values() for metric in row
    ]
    for where, metric in named:
        if metric not in known:
            kind = f" (it is of {' and '.join(METRICS[metric].tasks)})" if metric in METRICS else ""
            raise PreceptorError(
                f"plan {plan.name}: {where}: {' and '.join(sorted(tasks))} has no metric {metric!r}{kind}."
                + did_you_mean(metric, known),
                expected=f"one of {', '.join(known)}",
            )


def check_comparable(baseline: str, recipes: Iterable[tuple[str, Recipe]]) -> None:
    """Refuse recipes that differ in split, protocol or task.

    Rows are paired with the baseline fold by fold, and a teacher that was split otherwise has seen test images.

    Args:
        baseline: the row that the others must agree with.
        recipes: of all cells and of the runs that they need, each with its row's name.

    Raises:
        PreceptorError: names the row and the key.
    """
    reference: tuple[str, dict[str, object]] | None = None
    for row, recipe in sorted(recipes, key=lambda pair: pair[0] != baseline):
        values: dict[str, object] = {"task": recipe.task, "protocol": recipe.protocol}
        values |= {f"split.{key}": value for key, value in recipe.split.model_dump().items()}
        where = f"row {row}, recipe {recipe.name}"
        reference = reference or (where, values)
        for key, value in values.items():
            if value != reference[1][key]:
                raise PreceptorError(
                    f"{where}: {key} is {value}, but {reference[1][key]} in {reference[0]}",
                    expected="one split, protocol and task for all rows and their teachers: rows are compared on the "
                    "same test images",
                    remedy=f"set {key} once, in the plan's set, or make two plans",
                )


def check_teachers(cells: Iterable[Cell]) -> None:
    """Refuse rows whose own budget or image size, handed on to the teacher they train first, gives them another one.

    A teacher that differs on purpose is set as such (``networks.teacher…``), or is the plan's own.

    Raises:
        PreceptorError: names the row, the settings that differ, and the row that it was compared with.
    """
    first: dict[tuple[object, ...], tuple[Cell, PlannedRun]] = {}
    for cell in cells:
        for name, needed in cell.run.dependencies.items():
            other, expected = first.setdefault((cell.fold, cell.seed, name, needed.recipe.name), (cell, needed))
            if needed.identity == expected.identity:
                continue
            mine, theirs = needed.recipe.plain(), expected.recipe.plain()
            fields = {key for key in mine if mine[key] != theirs.get(key)} - {"networks", "views", "objectives"}
            settings, others = cell.row.set, other.row.set
            keys = [key for key in {**others, **settings} if settings.get(key) != others.get(key)]
            if keys := [key for key in keys if key.partition(".")[0] in fields]:
                raise PreceptorError(
                    f"row {cell.row.name}: learns from another {name} than row {other.row.name}, because "
                    f"{', '.join(keys)} is handed on to it",
                    expected="rows that learn from one teacher, or a difference that is set on purpose",
                    remedy="give the plan one teacher (teacher: {recipe: …}), or set networks."
                    f"{name}.trained_by.set.{keys[0]} in this row",
                )


def check_data(catalog: Catalog, runs: Iterable[tuple[Recipe, int]]) -> None:
    """Refuse data that a fold of some recipe cannot be split from, as where a class has too few lesions.

    Args:
        runs: recipes, each with its fold.

    Raises:
        PreceptorError: names the class, or the part that would lack it.
    """
    from preceptor.runs.create import split_of

    pairs = list(runs)
    for recipe, _ in pairs:
        TASKS[recipe.task].check_class_groups(
            recipe, TASKS[recipe.task].classes(catalog) if recipe.class_groups else ()
        )
    distinct = {(recipe.split.model_dump_json(), recipe.protocol, fold): recipe for recipe, fold in pairs}
    for (*_, fold), recipe in distinct.items():
        with prefix_errors(f"fold {fold}"):
            split_of(catalog, recipe, fold)


def check_dependencies(matrix: Matrix, done: set[str]) -> None:
    """Refuse to train what begins from a finished run whose weights are gone, as they are where they were not copied.

    Such a run is not trained again by itself: its figures are there, and might come out otherwise on this machine.

    Args:
        done: identities of the finished runs.

    Raises:
        PreceptorError: names both runs.
    """
    for key, planned in matrix.runs.items():
        for name, first in planned.dependencies.items():
            if key not in done and first.identity in done:
                find_network(matrix.paths[first.identity], name, f"{matrix.paths[key].name} begins from {name}")


def lacking(runs: Iterable[PlannedRun], devices: int) -> list[PreceptorError]:
    """The modes of networks that these runs need and this machine does not have, each once.

    Args:
        devices: processes of a run.
    """
    from preceptor.training.network_pass import check_mode

    errors: dict[str, PreceptorError] = {}
    for planned in runs:
        for name in planned.recipe.networks:
            try:
                check_mode(planned.recipe.mode(name), devices)
            except PreceptorError as error:
                errors.setdefault(error.what, error)
    return list(errors.values())


def one_run(cells: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Rows that share a run in all or some of their cells, from pairs of a run's identity and a row's name."""
    rows: dict[str, dict[str, None]] = {}
    for run, row in cells:
        rows.setdefault(run, {})[row] = None
    return [list(names) for names in dict.fromkeys(map(tuple, rows.values())) if len(names) > 1]
