"""``preceptor doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from preceptor.cli.options import Cache
from preceptor.utils.errors import PreceptorError

if TYPE_CHECKING:
    from preceptor.api.doctor import Check


def doctor(
    folder: Annotated[Path, typer.Argument(help="Where runs will be written.")] = Path("."), cache: Cache = None
) -> None:
    """Versions, threads, GPU, cache, disk, optional packages: what is there, and what keeps training from working."""
    import preceptor

    problems = [check for check in preceptor.doctor(folder, cache=cache, say=_print) if check.problem]
    if problems:
        raise PreceptorError(
            "; ".join(f"{check.subject}: {check.problem}" for check in problems),
            remedy="; ".join(check.remedy for check in problems),
        )


def _print(check: Check) -> None:
    lines = [check.finding]
    if check.problem:
        lines.append(f"problem: {check.problem}")
    if check.remedy:
        lines.append(f"{'to do' if check.problem else 'to install'}: {check.remedy}")
    print(f"{check.subject:16} " + f"\n{'':16} ".join(lines), flush=True)
