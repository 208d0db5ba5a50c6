"""``preceptor study``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from preceptor.cli.options import Cache, Exclude, Imports, OtherReader, Root

if TYPE_CHECKING:
    from preceptor.study.scheduler import Study


def study(
    plan: Annotated[str, typer.Argument(help="A shipped plan's name, or a YAML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="key=value for all rows; also rows=[A,B], folds=[0,1], seeds=3, threads=2, baseline=… of the plan",
        ),
    ] = None,
    data: OtherReader = None,
    root: Root = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder; studies/PLAN unless given.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Cells at once; by default as many as cores, memory and GPUs allow.")
    ] = None,
    engine: Annotated[str, typer.Option(help="local (processes of this machine) or ray.")] = "local",
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster; Ray is started here unless given.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The plan's small form: a trial, not evidence.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what there is to do; do nothing.")] = False,
    exclude: Exclude = None,
    cache: Cache = None,
    imports: Imports = None,
) -> None:
    """Methods × folds × seeds in one table. The same command again continues where it was stopped."""
    from preceptor.api.inputs import resumable
    from preceptor.api.studies import prepare_study, run_study
    from preceptor.cli.console import wide_console

    with resumable("the same command continues from the last finished epochs"):
        prepared = prepare_study(
            plan,
            overrides or (),
            data=data,
            root=root,
            out=out,
            workers=workers,
            engine=engine,
            address=address,
            quick=quick,
            exclude=exclude or (),
            cache=cache,
            imports=imports or (),
            progress=True,
        )
        from preceptor.cli.study_console import Watcher, print_failures, print_matrix, print_stale, result_table

        opened, console = prepared.study, wide_console()
        if dry_run:
            print_matrix(opened, console, prepared.workers, prepared.threads, prepared.lacking())
            return
        left = sum(outcome.state != "done" for outcome in opened.outcomes.values())
        console.print(
            f"{opened.folder}: {left} of {len(opened.matrix.runs)} runs to do, {prepared.threads} thread(s) each",
            markup=False,
            soft_wrap=True,
        )
        print_failures(opened, console)
        print_stale(opened, console)
        with Watcher(console) as watch:
            run_study(prepared, watch=watch, progress=True)
        console.print(result_table(opened))
        complete = _report(opened)
    if not complete:
        sys.exit(1)


def _report(opened: Study) -> bool:
    """Write and print the report; False where cells failed or are missing from it."""
    from preceptor.api.studies import report_study
    from preceptor.study.scheduler import LOGS
    from preceptor.study.state import TABLE

    print("writing the report", flush=True)
    written = report_study(opened)
    if written.no_gallery:
        print(f"no Grad-CAM gallery: {written.no_gallery}", file=sys.stderr)
    if written.page is not None:
        print(f"report: {written.page}")
    for line in written.omissions:
        print(line, file=sys.stderr)
    failed = opened.count("failed")
    if failed:
        print(
            f"{failed} of {len(opened.matrix.cells)} cells failed: {opened.folder / TABLE} says why, "
            f"{opened.folder / LOGS} how; the same command tries them again",
            file=sys.stderr,
        )
    return not failed and not written.unread
