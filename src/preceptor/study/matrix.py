"""A settled plan as cells (row × fold × seed), and the runs behind them: one each, and one for each that they share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from preceptor.recipe import Recipe
from preceptor.recipes.resolve import resolve
from preceptor.runs.dependencies import PlannedRun, plan_run, stage_recipe
from preceptor.study.plan import Plan, Row, Teacher
from preceptor.study.validation import check_comparable, check_teachers, one_run
from preceptor.training.checks import check_objectives
from preceptor.utils.errors import PreceptorError, prefix_errors

CELLS, SHARED = "cells", "shared"


@dataclass(frozen=True)
class Cell:
    """A row of the plan in one fold with one seed, and its run."""

    row: Row
    recipe: str
    fold: int
    seed: int
    run: PlannedRun


@dataclass(frozen=True)
class Matrix:
    """All cells of a plan, and the folder of each of their runs below the study's.

    Attributes:
        runs: identity → run; whatever a run needs stands before it.
        paths: identity → folder.
        shared: identities of those that others need.
    """

    cells: list[Cell]
    runs: dict[str, PlannedRun]
    paths: dict[str, Path]
    shared: set[str]

    def alike(self) -> list[list[str]]:
        """Names of rows that are one run, in all or some of their cells: nothing that decides on results differs."""
        return one_run((cell.run.identity, cell.row.name) for cell in self.cells)


def expand(plan: Plan, fingerprint: str, out: Path) -> Matrix:
    """The cells of a settled plan.

    Each run is keyed by its identity, so that a plan that changed runs again what changed and no more, and equal runs
    are one.

    Args:
        fingerprint: of the data (:meth:`preceptor.data.catalog.Catalog.fingerprint`).
        out: the study's folder; a run that is in it already keeps its place, whatever its row is called by now.

    Raises:
        PreceptorError: what is wrong with a row's recipe, a fold that its split does not have, or rows that are not
            tested on the same images.
    """
    cells: list[Cell] = []
    for row in plan.rows:
        with prefix_errors(f"row {row.name}"):
            cells += _cells(plan, row, fingerprint)
    recipes = ((cell.row.name, planned.recipe) for cell in cells for planned in reversed([*cell.run.in_order()]))
    check_comparable(plan.baseline, recipes)
    check_teachers(cells)
    runs = {planned.identity: planned for cell in cells for planned in cell.run.in_order()}
    shared = {first.identity for planned in runs.values() for first in planned.dependencies.values()}
    names = {cell.run.identity: cell.row.name for cell in reversed(cells)}
    paths = {key: _place(planned, names, shared, out) for key, planned in runs.items()}
    return Matrix(cells, runs, paths, shared)


def _cells(plan: Plan, row: Row, fingerprint: str) -> Iterator[Cell]:
    source, settings = row.recipe, row.set
    if source is None:
        assert plan.teacher is not None
        source, settings = plan.teacher.recipe, plan.teacher.set
    once = row.teacher and plan.teacher_seed is not None
    for fold in plan.folds:
        for seed in [plan.teacher_seed] if once else plan.seeds:
            recipe = resolve(source, {**settings, "seed": seed})
            _check(recipe, fold)
            yield Cell(row, source, fold, recipe.seed, _job(recipe, plan, fold, fingerprint))


def _check(recipe: Recipe, fold: int) -> None:
    check_objectives(recipe)
    if fold >= recipe.split.folds:
        raise PreceptorError(
            f"fold {fold}: the recipe's split has {recipe.split.folds} folds",
            expected=f"folds from 0 to {recipe.split.folds - 1}",
            remedy=f"set split.folds, or folds: {fold + 1} in the plan",
        )


def _job(recipe: Recipe, plan: Plan, fold: int, fingerprint: str) -> PlannedRun:
    return plan_run(recipe, fold, fingerprint, plan.devices, lambda recipe, name: _stage(recipe, name, plan))


def same_run(one: Recipe, other: Recipe, plan: Plan) -> bool:
    """Whether a study takes two recipes for one: what they differ in decides on no result."""
    return _job(one, plan, 0, "").identity == _job(other, plan, 0, "").identity


def _stage(recipe: Recipe, name: str, plan: Plan) -> Recipe:
    """The recipe that trains a network first: the plan's teacher, where it has one and the stage needs no other."""
    network = recipe.networks[name]
    assert network.trained_by is not None
    if plan.teacher_seed is not None:
        seeded = network.trained_by.model_copy(update={"set": {"seed": plan.teacher_seed, **network.trained_by.set}})
        networks = {**recipe.networks, name: network.model_copy(update={"trained_by": seeded})}
        recipe = recipe.model_copy(update={"networks": networks})
    stage = stage_recipe(recipe, name)
    if plan.teacher is not None and not any(network.trained_by for network in stage.networks.values()):
        stage = _teacher(plan.teacher, stage)
    check_objectives(stage)
    return stage


def _teacher(teacher: Teacher, stage: Recipe) -> Recipe:
    """The plan's teacher in the place of a stage: its seed, and its split, or it would have seen test images."""
    split = {f"split.{key}": value for key, value in stage.split.model_dump().items()}
    return resolve(teacher.recipe, {**teacher.set, **split, "protocol": stage.protocol, "seed": stage.seed})


def _place(planned: PlannedRun, names: dict[str, str], shared: set[str], out: Path) -> Path:
    ending = f"-fold{planned.fold}-seed{planned.seed}-{planned.identity[:8]}"
    for room in (SHARED, CELLS):
        folders = sorted((out / room).glob(f"*{ending}"))
        if folders:
            return folders[0]
    if planned.identity in shared:
        return out / SHARED / (planned.recipe.name + ending)
    return out / CELLS / (_file_name(names[planned.identity]) + ending)


def _file_name(row: str) -> str:
    """A row's name as a file may be called anywhere: ``B2 + CCD`` becomes ``B2_CCD``."""
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in ".-") else "_" for letter in row)
    return "_".join(part for part in kept.split("_") if part) or "row"
