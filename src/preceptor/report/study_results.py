"""The results of a study, finished or not: its plan, its cells, and the runs of the finished ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preceptor.report.entries import LabelledRun, load_run
from preceptor.runs.directory import Run
from preceptor.runs.schema import NetworkResult
from preceptor.study.plan import Plan, Row
from preceptor.study.state import PLAN, TABLE, CellRecord, read_cells, read_resolved_plan
from preceptor.study.validation import one_run
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError

_WORDS = {"id", "group", "part", "network", "target", "predicted"}  # of predictions.csv; all else is numbers
Key = tuple[int, int]  # fold, seed
HELD = 16  # tables of predictions in memory at a time, of however many runs


class _LastTables:
    """Predictions of the runs that were last asked for them; those of others are read again."""

    def __init__(self) -> None:
        self._of_run: dict[Path, pd.DataFrame] = {}

    def of(self, run: Run) -> pd.DataFrame:
        table = self._of_run.pop(run.path, None)
        if table is None:
            again = Run(run.path)
            again.remember(metrics=run.metrics)
            table = again.predictions
        self.keep(run.path, table)
        return table

    def keep(self, path: Path, table: pd.DataFrame) -> None:
        """Take a run's table for the last that was asked for."""
        self._of_run[path] = table  # dictionaries are in order
        if len(self._of_run) > HELD:
            del self._of_run[next(iter(self._of_run))]


@dataclass(frozen=True)
class CellRun(LabelledRun):
    """The finished run of a cell; its predictions and its history are held only while they are asked for.

    Attributes:
        tables: shared by the runs of a study.
    """

    tables: _LastTables = field(default_factory=_LastTables, repr=False, compare=False)

    @property
    def predictions(self) -> pd.DataFrame:  # type: ignore[override]
        return self.tables.of(self)

    @property
    def history(self) -> pd.DataFrame:  # type: ignore[override]
        return Run(self.path).history

    @property
    def tested_images(self) -> set[str]:
        """Ids of the test part."""
        return set(self.split.loc[self.split["part"] == "test", "id"])

    @property
    def tested_groups(self) -> NDArray[np.str_]:
        """Groups (patients or lesions) of the test part, each once."""
        return np.unique(self.split.loc[self.split["part"] == "test", "group"].to_numpy(str))

    @property
    def tested(self) -> pd.DataFrame:
        """The test rows of ``predictions.csv`` of all networks, with the ``group`` of each image; made at each call."""
        table = self.predictions[self.predictions["part"] == "test"]
        group = table["id"].map(self.split.set_index("id")["group"])
        if group.isna().any():
            raise PreceptorError(f"{self.path}: predictions.csv names images that split.csv does not have")
        return table.assign(group=group)

    @property
    def test_share(self) -> float:
        """Images of the test part over those of the training part."""
        parts = self.split["part"].value_counts()
        return float(parts.get("test", 0) / parts["train"])


@dataclass(frozen=True)
class Line:
    """One network of one row over all its cells: a line of the table, and one colour in every figure.

    ``is_first`` marks the row's first network, which is the one that is compared with the baseline.
    """

    row: Row
    network: str
    label: str
    index: int
    runs: dict[Key, CellRun]
    is_first: bool = True

    @property
    def number(self) -> int:
        """Its number in tables and figures, from 1."""
        return self.index + 1

    @property
    def colour(self) -> int:
        return self.index % 8 + 1

    @property
    def some_run(self) -> CellRun:
        return next(iter(self.runs.values()))

    def result(self, key: Key) -> NetworkResult:
        """Metrics of the network in the run of a cell."""
        return self.runs[key].metrics.networks[self.network]

    def values(self, metric: str, part: str = "test") -> dict[Key, float]:
        """The metric of each finished cell that has it."""
        values = {key: (getattr(self.result(key), part) or {}).get(metric) for key in self.runs}
        return {key: float(value) for key, value in values.items() if value is not None}

    def tested(self, keys: Iterable[Key] | None = None) -> dict[int, pd.DataFrame]:
        """Seed → this network's predictions on the test parts of all its folds."""
        return by_seed(self.tested_in_folds(keys))

    def tested_in_folds(self, keys: Iterable[Key] | None = None) -> dict[Key, pd.DataFrame]:
        """Fold and seed → this network's predictions on the test part of the fold."""
        tables = {key: self.runs[key].tested for key in sorted(set(self.runs if keys is None else keys))}
        return {key: table[table["network"] == self.network] for key, table in tables.items()}


def by_seed(folds: Mapping[Key, pd.DataFrame]) -> dict[int, pd.DataFrame]:
    """Return seed → the rows of all its folds."""
    frames: dict[int, list[pd.DataFrame]] = {}
    for (_, seed), table in folds.items():
        frames.setdefault(seed, []).append(table)
    return {seed: pd.concat(parts, ignore_index=True) for seed, parts in frames.items()}


@dataclass(frozen=True)
class StudyResults:
    """A study's folder with the runs of its finished cells.

    Attributes:
        plan: resolved, from ``study.yaml``.
        text: ``study.yaml`` as it stands.
        lines: of the rows with a finished cell, in the plan's order.
        unread: cells that were finished, and count as failed since their runs are missing or damaged → why.
    """

    folder: Path
    plan: Plan
    text: str
    cells: list[CellRecord]
    lines: list[Line] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return self.plan.title or self.plan.name

    @property
    def layout(self) -> dict[str, str]:
        """Metric → heading, the columns of the table."""
        return self.plan.columns

    @property
    def decimals(self) -> int:
        return self.plan.decimals

    @property
    def baseline(self) -> str:
        """Name of the row that the others are compared with."""
        return self.plan.baseline

    @property
    def quick(self) -> bool:
        """Whether it only shows that everything runs; its results are not evidence."""
        return self.plan.is_quick

    @property
    def task(self) -> str:
        return self.some_run.task

    @property
    def classes(self) -> list[str]:
        return self.some_run.classes

    @property
    def some_run(self) -> CellRun:
        return self.lines[0].some_run

    @property
    def runs(self) -> list[CellRun]:
        """The runs of all finished cells, each once."""
        return list({run.path: run for line in self.lines for run in line.runs.values()}.values())

    @property
    def one_run_a_split(self) -> list[CellRun]:
        """A run of each ``split.csv`` that differs from the others; equal tables are one object in all runs."""
        return list({id(run.split): run for run in self.runs}.values())

    @property
    def first(self) -> str:
        """The metric that verdicts are about: the task's headline, or the table's first column without it."""
        headline = TASKS[self.task].headline
        return headline if headline in self.layout else next(iter(self.layout))

    @property
    def alike(self) -> list[list[str]]:
        """Names of rows that are one run, in all or some of their cells."""
        return one_run((cell.run or "", cell.name) for cell in self.of("done"))

    def of(self, *states: str) -> list[CellRecord]:
        return [cell for cell in self.cells if cell.state in states]


def read_study(folder: Path) -> StudyResults:
    """Read a study and the runs of its finished cells.

    A cell whose run is missing or damaged is counted as failed, with the error.

    Raises:
        PreceptorError: no study, one without a finished cell, a broken table, or cells of different classes.
    """
    if not (folder / PLAN).is_file() or not (folder / TABLE).is_file():
        raise PreceptorError(
            f"{folder} is not a study: it lacks {PLAN} or {TABLE}", expected="a folder that preceptor study wrote"
        )
    text = (folder / PLAN).read_text(encoding="utf-8")
    plan = read_resolved_plan(folder)
    runs: dict[tuple[str, Key], CellRun] = {}
    kept: list[CellRecord] = []
    unread: dict[str, str] = {}
    splits: dict[bytes, pd.DataFrame] = {}
    tables = _LastTables()
    for cell in read_cells(folder):
        if cell.state == "done":
            try:
                runs[cell.name, cell.key] = _read_run(folder / (cell.run or ""), splits, tables)
            except PreceptorError as error:
                cell = cell.model_copy(update={"state": "failed", "error": str(error)})
                unread[f"{cell.name}, fold {cell.fold}, seed {cell.seed}"] = cell.error
        kept.append(cell)
    study = StudyResults(folder, plan, text, kept, unread=unread)
    if not runs:
        errors = [cell.error for cell in kept if cell.error]
        raise PreceptorError(
            f"{folder}: no cell is finished{f'; the first error: {errors[0]}' if errors else ''}",
            remedy="start it again: preceptor study continues with what is left",
        )
    _check_alike(runs.values())
    study.lines.extend(_lines(study, runs))
    return study


def _read_run(path: Path, splits: dict[bytes, pd.DataFrame], tables: _LastTables) -> CellRun:
    """A finished run with all that a report takes from it.

    Args:
        splits: tables of ``split.csv`` by the file's bytes. The cells of a fold have the same, which is held once.
        tables: of predictions.

    Raises:
        PreceptorError: it is not there, or one of its files is damaged; with the way out that loses nothing.
    """
    if not (path / "metrics.json").is_file():
        raise PreceptorError(f"{path} holds no finished run")
    try:
        run = CellRun.of(load_run(_with_split(Run(path), splits)), path.name, tables=tables)
        tables.keep(run.path, vars(run).pop("predictions"))
        del vars(run)["history"]  # which was read, and thereby checked
        _check_tested(run)
    except PreceptorError as error:
        raise PreceptorError(error.what, expected=error.expected, remedy=_remedy(path)) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PreceptorError(f"{path} holds a damaged file ({error!r})", remedy=_remedy(path)) from None
    return run


def _with_split(run: Run, splits: dict[bytes, pd.DataFrame]) -> Run:
    path = run.path / "split.csv"
    if path.is_file():
        digest = hashlib.sha256(path.read_bytes()).digest()
        if digest not in splits:
            splits[digest] = run.split
        run.remember(split=splits[digest])
    return run


def _remedy(path: Path) -> str:
    return (
        f"remove {path / 'metrics.json'}: the same command then measures the run again, from its checkpoint, and "
        f"writes metrics and predictions anew; other files must be restored, or the folder removed to train it again"
    )


def _check_tested(run: CellRun) -> None:
    """Refuse a run in which some network has no prediction for some test image."""
    images = run.tested_images
    for name, table in run.tested.groupby("network"):
        if len(table) != len(images) or set(table["id"]) != images:
            raise PreceptorError(
                f"{run.path / 'predictions.csv'} holds {len(table)} test rows of the network {name}",
                expected=f"one for each of the {len(images)} test images in split.csv",
            )
        numbers = table[[column for column in table.columns if column not in _WORDS]].astype(float)
        if numbers.filter(regex="^p_").isna().any(axis=None):
            raise PreceptorError(f"{run.path / 'predictions.csv'} lacks probabilities of the network {name}")


def _lines(study: StudyResults, runs: Mapping[tuple[str, Key], CellRun]) -> list[Line]:
    lines: list[Line] = []
    for row in study.plan.rows:
        of_row = {key: run for (name, key), run in sorted(runs.items()) if name == row.name}
        networks = [name for name in row.networks or [] if any(name in run.metrics.networks for run in of_row.values())]
        for name in networks:
            having = {key: run for key, run in of_row.items() if name in run.metrics.networks}
            label = row.name if len(networks) == 1 else f"{row.name} · {name.replace('_', ' ')}"
            lines.append(Line(row, name, label, len(lines), having, name == networks[0]))
    return lines


def _check_alike(runs: Iterable[CellRun]) -> None:
    first, *others = runs
    for run in others:
        for key in ("task", "classes"):
            if getattr(run, key) != getattr(first, key):
                raise PreceptorError(
                    f"{run.path}: {key} is {getattr(run, key)}, but {getattr(first, key)} in {first.path}",
                    expected="cells of one study on the same task and classes",
                )
