"""Complete a run from its current state, with its report."""

from __future__ import annotations

from pathlib import Path

from preceptor.runs.complete import at_work, complete
from preceptor.runs.directory import Run


def continue_run(
    run: Run,
    *,
    devices: int | None = None,
    root: Path | None = None,
    cache: Path | None = None,
    quiet: bool = True,
) -> Run:
    """Complete a run from its current state: what is trained first, epochs, evaluation, report.

    A prepared run is one that was stopped before its first epoch.

    Args:
        root: where the data lie now, if they were moved; written down in the run.
    """
    if root is not None:
        with at_work(run.path):
            Run(run.path).move_data(root)
    run = Run(run.path)  # what was read of it before may have changed since
    complete(run, devices=devices, cache=cache, quiet=quiet, on_finished=write_missing_report)
    return run


def write_missing_report(run: Run) -> None:
    """Write the report of a finished run unless it has one."""
    if not run.report.is_file():
        from preceptor.report.run_report import write_report  # here: drawing is not needed before a run is finished

        write_report([run], run.report)
