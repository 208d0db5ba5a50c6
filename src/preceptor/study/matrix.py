"""A settled plan as cells (row × fold × seed), and the runs behind them: one each, and one for each part they share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from preceptor.networks.build import find_network
from preceptor.recipe import NetworkConfig, Recipe
from preceptor.recipes.resolve import resolve
from preceptor.runs.create import stage_recipe
from preceptor.study.plan import Plan, Row, Teacher
from preceptor.study.validation import check_comparable, check_teachers, one_run
from preceptor.training.checks import check_objectives
from preceptor.utils.errors import PreceptorError, prefix_errors

CELLS, SHARED = "cells", "shared"


@dataclass(frozen=True)
class Job:
    """One run of a study.

    Attributes:
        identity: hash of all that decides on its result.
        recipe: what it trains, its shared parts still under ``trained_by``.
        fold: which fold is its test part.
        parts: network → the job that trains it first.
    """

    identity: str
    recipe: Recipe
    fold: int
    parts: dict[str, Job] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        return self.recipe.seed

    def with_parts(self) -> Iterator[Job]:
        """All jobs that this one needs, deepest first, and then itself."""
        for part in self.parts.values():
            yield from part.with_parts()
        yield self

    def trainable(self, paths: dict[str, Path]) -> Recipe:
        """Its recipe with the networks of other jobs taken from where these are.

        Args:
            paths: identity → folder.
        """
        networks = dict(self.recipe.networks)
        for name, part in self.parts.items():
            said = networks[name]
            networks[name] = NetworkConfig(
                run=str(paths[part.identity]), frozen=said.frozen, projection=said.projection
            )
        return self.recipe.model_copy(update={"networks": networks})


@dataclass(frozen=True)
class Cell:
    """A row of the plan in one fold with one seed, and its run."""

    row: Row
    recipe: str
    fold: int
    seed: int
    job: Job


@dataclass(frozen=True)
class Matrix:
    """All cells of a plan, and the folder of each of their jobs below the study's.

    Attributes:
        jobs: identity → job; whatever a job needs stands before it.
        paths: identity → folder.
        shared: identities of those that others need.
    """

    cells: list[Cell]
    jobs: dict[str, Job]
    paths: dict[str, Path]
    shared: set[str]

    def alike(self) -> list[list[str]]:
        """Names of rows that are one run, in all or some of their cells: nothing that decides on results differs."""
        return one_run((cell.job.identity, cell.row.name) for cell in self.cells)


def expand(plan: Plan, fingerprint: str, out: Path) -> Matrix:
    """The cells of a settled plan.

    A job's identity is the hash of its resolved recipe (without its name and paper, with the identities of its parts
    in their place, and files by their content), of the data's fingerprint, the fold and the number of processes.
    So a plan that changed runs again what changed and no more, and equal runs are one.

    Args:
        fingerprint: of the data (:meth:`preceptor.data.catalog.Catalog.fingerprint`).
        out: the study's folder; a job that is in it already keeps its place, whatever its row is called by now.

    Raises:
        PreceptorError: what is wrong with a row's recipe, a fold that its split does not have, or rows that are not
            tested on the same images.
    """
    cells: list[Cell] = []
    for row in plan.rows:
        with prefix_errors(f"row {row.name}"):
            cells += _cells(plan, row, fingerprint)
    recipes = ((cell.row.name, job.recipe) for cell in cells for job in reversed([*cell.job.with_parts()]))
    check_comparable(plan.baseline, recipes)
    check_teachers(cells)
    jobs = {job.identity: job for cell in cells for job in cell.job.with_parts()}
    shared = {part.identity for job in jobs.values() for part in job.parts.values()}
    names = {cell.job.identity: cell.row.name for cell in reversed(cells)}
    paths = {key: _place(job, names, shared, out) for key, job in jobs.items()}
    return Matrix(cells, jobs, paths, shared)


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


def _job(recipe: Recipe, plan: Plan, fold: int, fingerprint: str) -> Job:
    parts = {
        name: _job(_part(recipe, name, plan), plan, fold, fingerprint)
        for name, network in recipe.networks.items()
        if network.trained_by is not None
    }
    said = {
        "recipe": _essence(recipe, {name: part.identity for name, part in parts.items()}),
        "data": fingerprint,
        "fold": fold,
        "processes": plan.devices,
    }
    text = json.dumps(said, sort_keys=True, ensure_ascii=False)
    return Job(hashlib.sha256(text.encode()).hexdigest(), recipe, fold, parts)


def same_run(one: Recipe, other: Recipe, plan: Plan) -> bool:
    """Whether a study takes two recipes for one: what they differ in decides on no result."""
    return _job(one, plan, 0, "").identity == _job(other, plan, 0, "").identity


def _part(recipe: Recipe, name: str, plan: Plan) -> Recipe:
    """The recipe that trains a network first: the plan's teacher, where it has one and the stage needs no other."""
    network = recipe.networks[name]
    assert network.trained_by is not None
    if plan.teacher_seed is not None:
        seeded = network.trained_by.model_copy(update={"set": {"seed": plan.teacher_seed, **network.trained_by.set}})
        networks = {**recipe.networks, name: network.model_copy(update={"trained_by": seeded})}
        recipe = recipe.model_copy(update={"networks": networks})
    stage = stage_recipe(recipe, name)
    if plan.teacher is not None and not any(one.trained_by for one in stage.networks.values()):
        stage = _teacher(plan.teacher, stage)
    check_objectives(stage)
    return stage


def _teacher(teacher: Teacher, stage: Recipe) -> Recipe:
    """The plan's teacher in the place of a stage: its seed, and its split, or it would have seen test images."""
    split = {f"split.{key}": value for key, value in stage.split.model_dump().items()}
    return resolve(teacher.recipe, {**teacher.set, **split, "protocol": stage.protocol, "seed": stage.seed})


def _essence(recipe: Recipe, parts: dict[str, str]) -> dict[str, Any]:
    """What of a recipe decides on the result: no names for people, and files by their content."""
    said = {key: value for key, value in recipe.plain().items() if key not in ("name", "paper")}
    networks = {}
    for name, network in recipe.networks.items():
        one: dict[str, Any] = dict(said["networks"][name])
        if name in parts:
            one = {"part": parts[name], "frozen": network.frozen, "projection": network.projection}
        elif network.run is not None:
            file = find_network(Path(network.run).expanduser(), name, f"networks.{name}.run")
            one["run"] = _content(file.resolve())
        elif network.pretrained not in ("none", "imagenet"):
            file = Path(network.pretrained).expanduser()
            if not file.is_file():
                raise PreceptorError(f"networks.{name}.pretrained: there is no file {file}")
            one["pretrained"] = _content(file.resolve())
        networks[name] = one
    return said | {"networks": networks}


@cache
def _content(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _place(job: Job, names: dict[str, str], shared: set[str], out: Path) -> Path:
    ending = f"-fold{job.fold}-seed{job.seed}-{job.identity[:8]}"
    for room in (SHARED, CELLS):
        found = sorted((out / room).glob(f"*{ending}"))
        if found:
            return found[0]
    if job.identity in shared:
        return out / SHARED / (job.recipe.name + ending)
    return out / CELLS / (_file_name(names[job.identity]) + ending)


def _file_name(row: str) -> str:
    """A row's name as a file may be called anywhere: ``B2 + CCD`` becomes ``B2_CCD``."""
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in ".-") else "_" for letter in row)
    return "_".join(part for part in kept.split("_") if part) or "row"
