"""Print a study: its matrix before, a live table (or plain lines) meanwhile, its results afterwards."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from preceptor.evaluation.statistics import spread
from preceptor.report.formatting import counted, duration, listed, mean_std, ratio
from preceptor.runs.dependencies import PlannedRun
from preceptor.runs.directory import Run
from preceptor.runs.marks import NOT_EVIDENCE
from preceptor.study.engines import Engine
from preceptor.study.estimate import Remaining, remaining
from preceptor.study.matrix import Cell
from preceptor.study.outcome import Outcome, epochs_done
from preceptor.study.scheduler import Study, tried_again
from preceptor.study.timing import BUDGET, time_runs
from preceptor.utils.errors import PreceptorError, some_of

_MARKS = {"done": "done", "failed": "failed", "pending": "·"}
_REASONS = 2  # why runs are of unknown length
_MOST = 5  # errors below the live table, which must fit on a screen


def describe(left: Remaining, workers: int) -> str:
    """A sentence on the work that is left."""
    why = f" ({some_of(left.reasons, _REASONS)})" if left.reasons else ""
    if not left.seconds:
        return f"unknown until the first cell is done{why}" if left.unknown else "nothing is left to do"
    shared = f", {duration(left.seconds / workers)} with {workers} workers" if workers > 1 else ""
    rest = f"; and {counted(left.unknown, 'run')} of unknown length{why}" if left.unknown else ""
    return f"about {duration(left.seconds)} of work{shared} ({left.basis}){rest}"


def heading(study: Study) -> str:
    plan = study.plan
    marked = f" ({NOT_EVIDENCE})" if plan.is_quick else ""
    return escape(f"{plan.title or plan.name}{marked}")


def matrix_table(study: Study) -> Table:
    """Rows × (fold, seed) with the state of each cell."""
    columns = list(dict.fromkeys((cell.fold, cell.seed) for cell in study.matrix.cells))
    cells = {(cell.row.name, cell.fold, cell.seed): cell for cell in study.matrix.cells}
    table = Table(title=heading(study), title_justify="left")
    table.add_column("row", no_wrap=True)
    table.add_column("recipe", no_wrap=True)
    for fold, seed in columns:
        table.add_column(f"fold {fold}" + (f"\nseed {seed}" if len(study.plan.seeds) > 1 else ""), justify="center")
    for row in study.plan.rows:
        of_row = [cells.get((row.name, *column)) for column in columns]
        recipe = next(cell.recipe for cell in of_row if cell is not None)
        states = ["" if cell is None else _state(study, cell.run) for cell in of_row]
        table.add_row(escape(row.name), escape(recipe), *states)
    return table


def _state(study: Study, planned: PlannedRun) -> str:
    outcome = study.outcomes[planned.identity]
    done = epochs_done(study.matrix.paths[planned.identity])
    if outcome.state == "pending" and done:
        return f"{done}/{planned.recipe.epochs}"
    return "again" if outcome.state == "pending" and outcome.error else _MARKS[outcome.state]


def _failures(study: Study) -> list[str]:
    """A line for each run that has failed: its error, and whether it is tried again."""
    states = {"failed": "failed", "pending": "failed before, is tried again"}
    return [
        f"{states[outcome.state]}: {_run_of(study, outcome)}: {' '.join(outcome.error.split())}"
        for outcome in study.outcomes.values()
        if outcome.error
    ]


def _run_of(study: Study, outcome: Outcome) -> str:
    return study.matrix.paths[outcome.identity].relative_to(study.folder).as_posix()


def print_matrix(
    study: Study, console: Console, workers: int, threads: int, lacking: Sequence[PreceptorError] = ()
) -> None:
    """Print the matrix, what the machine lacks, and an estimate of the time, for ``--dry-run``."""
    console.print(matrix_table(study))
    for planned in study.shared_runs():
        names = list(dict.fromkeys(cell.row.name for cell in study.users(planned)))
        run = study.matrix.paths[planned.identity].relative_to(study.folder)
        _line(console, f"shared: {run} ({_state(study, planned)}) by {', '.join(names)}")
    for names in study.matrix.alike():
        _line(console, f"one run under {len(names)} names: {listed(names)}; their settings do not differ")
    cells, runs = study.matrix.cells, study.matrix.runs
    print_failures(study, console)
    print_stale(study, console)
    failed = f", {study.count('failed')} failed" if study.count("failed") else ""
    _line(
        console,
        f"{len(cells)} cells, {study.count('done')} done{failed}; "
        f"{len(runs)} runs in all, {len(study.shared_runs())} of them shared",
    )
    _line(console, f"{workers} at once, {threads} thread(s) each, in {study.folder}")
    for error in lacking:
        _line(console, f"this machine cannot run the study: {' '.join(error.message.split())}")
    again = tried_again(study)
    left = remaining(again)
    if left.unknown:
        todo = [planned for key, planned in runs.items() if study.outcomes[key].state != "done"]
        _line(console, f"timing a few steps of each recipe; after {BUDGET:.0f} s none is begun")
        left = remaining(again, time_runs(todo, study.catalog, threads))
    _line(console, f"left: {describe(left, workers)}")


def print_failures(study: Study, console: Console) -> None:
    """Print what failed before and is about to be tried again."""
    for failure in _failures(tried_again(study)):
        _line(console, failure)


def print_stale(study: Study, console: Console) -> None:
    """Print which runs in the study's folder are of another form of its plan."""
    if stale := study.stale_runs():
        names = [path.relative_to(study.folder).as_posix() for path in stale]
        _line(
            console,
            f"not of this plan, and in no table: {some_of(names, _MOST)}; they stay for a plan of their settings, "
            "folds and seeds, and may be removed",
        )


class Watcher:
    """The live table on a terminal, a line for whatever ends anywhere else."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None  # begun with the first cells: before them, decoding has a bar of its own
        self._began = time.perf_counter()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, study: Study, engine: Engine, ended: list[Outcome]) -> None:
        for outcome in ended:
            self._print(study, outcome)
        if self._console.is_terminal:
            if self._live is None:
                self._live = Live(console=self._console, auto_refresh=False, transient=True)
                self._live.start()
            running = [study.matrix.runs[key] for key in engine.running()]
            at_work = ", ".join(
                f"{study.matrix.paths[planned.identity].name} {_progress(study, planned)}" for planned in running
            )
            summary = Text(
                f"{study.count('done')}/{len(study.matrix.cells)} done, {study.count('failed')} failed, "
                f"{duration(time.perf_counter() - self._began)} so far\n"
                f"left: {describe(remaining(study), engine.workers)}\n"
                f"at work: {at_work or 'nothing'}"
            )
            failures = _failures(study)
            shown = [Text(line, no_wrap=True, overflow="ellipsis") for line in failures[:_MOST]]
            more = [Text(f"and {len(failures) - _MOST} more")] if len(failures) > _MOST else []
            self._live.update(Group(matrix_table(study), summary, *shown, *more), refresh=True)
        elif ended and study.count("pending"):
            _line(self._console, f"left: {describe(remaining(study), engine.workers)}")

    def _print(self, study: Study, outcome: Outcome) -> None:
        run = _run_of(study, outcome)
        count = f"{study.count('done')}/{len(study.matrix.cells)} cells done"
        if outcome.state == "done":
            _line(self._console, f"done    {run}  {duration(outcome.seconds)}  ({count})")
        else:
            _line(self._console, f"failed  {run}: {outcome.error.splitlines()[0]}  ({count})")


def _progress(study: Study, planned: PlannedRun) -> str:
    return f"{epochs_done(study.matrix.paths[planned.identity])}/{planned.recipe.epochs}"


def result_table(study: Study) -> Table:
    """Mean ± standard deviation over the finished cells of each row, with published results below."""
    plan, decimals = study.plan, study.plan.decimals
    published = plan.published
    table = Table(title=heading(study), title_justify="left", caption_justify="left")
    table.add_column("row", no_wrap=True)
    table.add_column("network", no_wrap=True)
    table.add_column("cells", justify="right")
    for title in plan.columns.values():
        table.add_column(escape(title), justify="right", no_wrap=True)
    for row in plan.rows:
        cells = [cell for cell in study.matrix.cells if cell.row.name == row.name]
        done = [cell for cell in cells if study.outcome(cell).state == "done"]
        for index, network in enumerate(row.networks or []):
            values = [_mean(study, done, network, metric, decimals) for metric in plan.columns]
            name = row.name + (" (baseline)" if row.name == plan.baseline else "")
            table.add_row(escape(name) if not index else "", escape(network), f"{len(done)}/{len(cells)}", *values)
        if published is not None and row.name in published.rows:
            paper = published.rows[row.name]
            values = [ratio(paper[metric], decimals) if metric in paper else "" for metric in plan.columns]
            table.add_row("", "as published", "", *values, style="dim")
    remarks = [f"published: {escape(published.table)}"] if published is not None else []
    remarks += [NOT_EVIDENCE] if plan.is_quick else []
    table.caption = "\n".join(["mean ± standard deviation over folds and seeds", *remarks])
    return table


def _mean(study: Study, cells: list[Cell], network: str, metric: str, decimals: int) -> str:
    tested = [Run(study.matrix.paths[cell.run.identity]).metrics.networks[network].test for cell in cells]
    return mean_std(spread([test[metric] for test in tested if test.get(metric) is not None]), decimals)


def _line(console: Console, text: str) -> None:
    """Print a line without markup; longer than the terminal only in a file (a live table would take on the setting)."""
    console.print(Text(text), soft_wrap=not console.is_terminal)
