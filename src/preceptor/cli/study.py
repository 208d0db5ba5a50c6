"""``preceptor study``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from preceptor.cli.commands import goes_on, read_ids, split_overrides, wide_console
from preceptor.cli.study_console import Watcher, print_failures, print_matrix, result_table
from preceptor.report.study_results import Study as Reported
from preceptor.report.study_results import read_study
from preceptor.study.engines import Engine
from preceptor.study.engines.local import LocalEngine, bearable, cores
from preceptor.study.matrix import Cell
from preceptor.study.overrides import CommandLine, resolve_plan
from preceptor.study.plan import read_plan
from preceptor.study.scheduler import LOGS, Study, conduct, open_study
from preceptor.study.state import TABLE, threads_before
from preceptor.utils.errors import PreceptorError


@goes_on()
def study(
    plan: str, data: str | None, overrides: list[str], root: Path | None, out: Path | None, workers: int | None,
    engine: str, address: str | None, quick: bool, dry_run: bool, exclude: Path | None, cache: Path | None,
) -> None:  # fmt: skip
    """Runs what a plan asks for and is not done yet, then prints the table and writes the report.

    Exits with 1 where cells failed, with 130 when it is interrupted.

    Raises:
        PreceptorError: a wrong plan, override, option or data set, before anything is trained.
    """
    if engine not in ("local", "ray"):
        raise PreceptorError(f"--engine {engine}", expected="local or ray")
    if address is not None and engine != "ray":
        raise PreceptorError(f"--address {address}: belongs to --engine ray")
    settings, options = split_overrides(overrides)
    settled = resolve_plan(read_plan(plan), CommandLine(quick, data, root, options, read_ids(exclude), settings))
    folder = out or Path("studies") / (settled.name + ("-quick" if settled.is_quick else ""))
    opened = open_study(settled, folder)
    threads = threads_before(opened.folder, settled)
    if engine == "ray":  # whose cores are not this machine's: one thread a cell, unless told
        at_once, each = workers or 1, threads or 1
    else:
        at_once = workers or bearable(len(opened.matrix.jobs), threads, settled.devices)
        each = threads or max(1, cores() // at_once)
    console = wide_console()
    if dry_run:
        print_matrix(opened, console, at_once, each)
        return
    _conduct(opened, _engine(opened, engine, address, workers, at_once, each), each, cache, console)
    console.print(result_table(opened))
    unread = _report(opened)
    failed = opened.count("failed")
    if failed:
        print(
            f"{failed} of {len(opened.matrix.cells)} cells failed: {opened.folder / TABLE} says why, "
            f"{opened.folder / LOGS} how; the same command tries them again",
            file=sys.stderr,
        )
    if failed or unread:
        sys.exit(1)


def _conduct(opened: Study, engine: Callable[[], Engine], threads: int, cache: Path | None, console: Console) -> None:
    left = sum(outcome.state != "done" for outcome in opened.outcomes.values())
    console.print(f"{opened.folder}: {left} of {len(opened.matrix.jobs)} runs to do, {threads} thread(s) each")
    print_failures(opened, console)
    with Watcher(console) as watch:
        conduct(opened, engine, threads, cache=cache, quiet=False, watch=watch)


def _engine(
    opened: Study, engine: str, address: str | None, workers: int | None, at_once: int, threads: int
) -> Callable[[], Engine]:
    devices = opened.plan.devices

    def local() -> Engine:
        return LocalEngine(at_once, threads, devices)

    def on_ray() -> Engine:
        from preceptor.study.engines.ray import RayEngine

        return RayEngine(address, workers, threads, devices)

    return on_ray if engine == "ray" else local


def _report(opened: Study) -> int:
    """Writes the report of what is done, with a gallery where one can be made.

    Returns:
        How many cells are done but not in it, since their runs' files are damaged; each is said.
    """
    if not opened.count("done"):
        return 0
    from preceptor.report.study_gallery import write_study_gallery
    from preceptor.report.study_report import write_report_of

    try:
        write_study_gallery(opened.folder)
    except Exception as error:  # the report stands without pictures of what networks looked at
        said = error.what if isinstance(error, PreceptorError) else f"{type(error).__name__}: {error}"
        print(f"no Grad-CAM gallery: {said}", file=sys.stderr)
    reported = read_study(opened.folder)
    print(f"report: {write_report_of(reported)}")
    unread = _unread(opened, reported)
    for cell, why in unread:
        print(f"not in the report: {cell.row.name}, fold {cell.fold}, seed {cell.seed}: {why}", file=sys.stderr)
    return len(unread)


def _unread(opened: Study, reported: Reported) -> list[tuple[Cell, str]]:
    """Cells that are done, but that the report counts as failed, and why."""
    errors = {(cell.row, cell.fold, cell.seed): cell.error for cell in reported.of("failed")}
    done = [cell for cell in opened.matrix.cells if opened.outcome(cell).state == "done"]
    keys = {(cell.row.name, cell.fold, cell.seed): cell for cell in done}
    return [(cell, errors[key]) for key, cell in keys.items() if key in errors]
