"""``preceptor study``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from preceptor.commands import read_ids, split_overrides, wide_console
from preceptor.errors import PreceptorError
from preceptor.study.before import threads_before
from preceptor.study.conduct import Study, conduct, open_study
from preceptor.study.engines import Engine
from preceptor.study.engines.local import LocalEngine, bearable, cores
from preceptor.study.plan import read_plan
from preceptor.study.settle import Asked, settle
from preceptor.study.show import Watcher, print_matrix, result_table


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
    settled = settle(read_plan(plan), Asked(quick, data, root, options, read_ids(exclude), settings))
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
    _report(opened)
    failed = opened.count("failed")
    if failed:
        print(
            f"{failed} of {len(opened.matrix.cells)} cells failed: {opened.folder / 'cells.json'} says why, "
            f"{opened.folder / 'logs'} how; the same command tries them again",
            file=sys.stderr,
        )
        sys.exit(1)


def _conduct(opened: Study, engine: Callable[[], Engine], threads: int, cache: Path | None, console: Console) -> None:
    left = sum(outcome.state != "done" for outcome in opened.outcomes.values())
    console.print(f"{opened.folder}: {left} of {len(opened.matrix.jobs)} runs to do, {threads} thread(s) each")
    try:
        with Watcher(console) as watch:
            conduct(opened, engine, threads, cache=cache, quiet=False, watch=watch)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last finished epochs", file=sys.stderr)
        sys.exit(130)


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


def _report(opened: Study) -> None:
    if opened.count("done"):
        from preceptor.study.looks import write_looks
        from preceptor.study.report import write_study_report

        try:
            write_looks(opened.folder)
        except PreceptorError as error:  # the report stands without pictures of what networks looked at
            print(f"no Grad-CAM gallery: {error.what}", file=sys.stderr)
        print(f"report: {write_study_report(opened.folder)}")
