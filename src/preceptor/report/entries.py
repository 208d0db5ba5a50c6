"""What a report is made of: finished runs under short labels, and their networks as entries of every table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pandas as pd

from preceptor.evaluation.metrics import METRICS
from preceptor.runs.directory import Run
from preceptor.runs.lineage import is_distilled
from preceptor.runs.schema import NetworkResult
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError
from preceptor.utils.path_names import shortest_endings

TEACHERS = {"frozen teacher": "teacher", "mean teacher": "mean teacher"}  # role in metrics.json -> kind


@dataclass(frozen=True)
class LabelledRun(Run):
    """A finished run under the name that a report gives it.

    Attributes:
        label: short, and unique within a report.
    """

    label: str = ""

    @classmethod
    def of(cls, run: Run, label: str, **values: Any) -> Self:
        """Return the run under a label; what was read of it is not read again.

        Args:
            values: attributes to have instead of those that the directory holds, as pooled ``predictions``.
        """
        labelled = cls(run.path, label)
        vars(labelled).update({**vars(run), **values, "label": label})
        return labelled

    @property
    def task(self) -> str:
        return self.metrics.task

    @property
    def classes(self) -> list[str]:
        """Of the images, or of the masks' pixels, the background first."""
        return self.metrics.classes

    @cached_property
    def readers(self) -> tuple[str, ...]:
        """Readers that may know the classes by name."""
        return (self.environment.data.name,)

    @property
    def paper_protocol(self) -> bool:
        """Whether folds are of images and there is no validation part, so that lesions straddle the parts."""
        return self.metrics.protocol == "paper"

    @property
    def curve_metric(self) -> str:
        """The metric whose course over the epochs is shown: the one that chose epochs, or the task's headline."""
        chosen = (self.metrics.selected_by or "").rpartition("/")[2]
        return chosen if chosen in METRICS else TASKS[self.task].headline

    @property
    def curve_part(self) -> str:
        """The part that was measured after every epoch."""
        return "test" if self.paper_protocol else "validation"

    @property
    def mark(self) -> str:
        """The remark to show with its figures: for a run of a quick study, that they are not evidence."""
        return self.environment.marked

    @property
    def split_hash(self) -> str:
        return self.environment.split_hash


@dataclass(frozen=True)
class Entry:
    """One network of one run: a row of every table, and one colour in every figure."""

    run: LabelledRun
    name: str
    label: str
    index: int

    @property
    def result(self) -> NetworkResult:
        """What ``metrics.json`` says of the network."""
        return self.run.metrics.networks[self.name]

    @property
    def role(self) -> str:
        return self.result.role

    @property
    def test(self) -> dict[str, Any]:
        return self.result.test

    @property
    def headline(self) -> float:
        """The figure that the report is headed by, of the test part."""
        return float(self.test[TASKS[self.run.task].headline])

    @property
    def members(self) -> list[str]:
        """Of an ensemble."""
        return self.run.recipe.ensembles.get(self.name, [])

    @cached_property
    def kind(self) -> str:
        """What it is beside the others of its run.

        ``teacher`` (a frozen one), ``mean teacher``, ``online teacher`` (it learns beside its students, from its own
        loss alone), ``ensemble``, ``taught`` (it learned from other networks, here or in the run that it started from),
        ``fine-tuned`` (it started from a run that is gone, so that nobody knows) or ``alone``.
        """
        if self.role in TEACHERS or self.role == "ensemble":
            return TEACHERS.get(self.role, self.role)
        recipe = self.run.recipe
        teaches = any(self.name in objective.sources for objective in recipe.objectives)
        if teaches and not recipe.teachers_of(self.name):
            return "online teacher"
        return {True: "taught", False: "alone", None: "fine-tuned"}[is_distilled(self.run, self.name)]

    @property
    def colour(self) -> int:
        return self.index % 8 + 1

    @property
    def line(self) -> str:
        """How its curves are drawn: with more than eight networks, colours come again."""
        return ("solid", "dashed", "dotted")[self.index // 8 % 3]

    @property
    def predictions(self) -> pd.DataFrame:
        """The test rows of this network."""
        table = self.run.predictions
        return table[(table["network"] == self.name) & (table["part"] == "test")]


def load_runs(runs: Sequence[Path | Run]) -> list[LabelledRun]:
    """Read runs in the order given and label each by its name, or by more of its path where names agree.

    Raises:
        PreceptorError: for no run, one given twice, or one that :func:`load_run` refuses.
    """
    if not runs:
        raise PreceptorError("no run directory was given", expected="one or more directories written by a finished run")
    places = [(run.path if isinstance(run, Run) else run).resolve() for run in runs]
    for place, times in Counter(places).items():
        if times > 1:
            raise PreceptorError(f"{place} is given {times} times", remedy="name each run directory once")
    return [load_run(run, label) for run, label in zip(runs, shortest_endings(places), strict=True)]


def load_run(run: Path | Run, label: str | None = None) -> LabelledRun:
    """Read all of one finished run that a report needs.

    Raises:
        PreceptorError: it is not a run directory, is unfinished, or holds a file that is missing, broken, of another
            format, or lacks a column.
    """
    run = run if isinstance(run, Run) else Run(run)
    labelled = LabelledRun.of(run, label or run.path.resolve().name)
    labelled.require_finished()
    _check_headline(labelled)
    _ = labelled.recipe, labelled.environment, labelled.split, labelled.history, labelled.predictions
    return labelled


def entries_of(runs: Sequence[LabelledRun]) -> list[Entry]:
    """All networks of all runs; labelled by the run, the network, or both, as far as needed to tell them apart."""
    entries: list[Entry] = []
    for run in runs:
        for name in run.metrics.networks:
            by_run = run.label if name == run.label else f"{run.label} · {name}"
            entries.append(Entry(run, name, name if len(runs) == 1 else by_run, len(entries)))
    return entries


def _check_headline(run: LabelledRun) -> None:
    path, task = run.path / "metrics.json", run.task
    if task not in TASKS:
        raise PreceptorError(f"{path}: the task is {task!r}", expected=" or ".join(TASKS))
    headline = TASKS[task].headline
    lacking = [name for name, result in run.metrics.networks.items() if headline not in result.test]
    if lacking:
        raise PreceptorError(
            f"{path} lacks networks.{lacking[0]}.test.{headline}",
            expected="the figures of a finished run",
            remedy=f"preceptor evaluate {run.path}",
        )
