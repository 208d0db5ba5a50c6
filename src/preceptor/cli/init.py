"""``preceptor init``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from preceptor.cli.options import ReaderOptions, TaskName

if TYPE_CHECKING:
    from preceptor.api.init import Project, Question


def init(
    root: Annotated[Path, typer.Argument(help="Folder of classes, CSV file, or a published data set as downloaded.")],
    overrides: ReaderOptions = None,
    data: Annotated[str | None, typer.Option("--data", help="Reader; recognised unless given.")] = None,
    task: TaskName = None,
    out: Annotated[Path, typer.Option(help="Where recipe.yaml and plan.yaml are written.")] = Path("."),
    ask: Annotated[
        bool | None, typer.Option("--ask/--no-ask", help="Ask what is left open; in a terminal unless given.")
    ] = None,
) -> None:
    """Recognise a data set, check it, write a commented recipe and plan, say what training will cost."""
    import preceptor

    asks = sys.stdin.isatty() if ask is None else ask
    _print(
        preceptor.init(
            root, overrides or (), data=data, task=task, out=out, ask=_answer if asks else None, progress=True
        )
    )


def _answer(question: Question) -> str:
    shown = f"{question.text} ({', '.join(question.choices)})" if question.choices else question.text
    while (answer := str(typer.prompt(shown, default=question.default))) not in (question.choices or (answer,)):
        print(f"{answer!r} is none of {', '.join(question.choices)}")
    return answer


def _print(project: Project) -> None:
    from preceptor.cli.console import wide_console
    from preceptor.report.formatting import duration
    from preceptor.utils.machine import size_text

    wide_console().print(project.report)
    print("\nrecognised:")
    for reason in project.reasons:
        print(f"  {reason}")
    cost = project.cost
    print("\non this machine, by a few timed steps:")
    for what, seconds in (("teacher and student, one fold", cost.method), (f"the plan, {cost.runs} runs", cost.study)):
        print(f"  {what}: {'unknown' if seconds is None else f'about {duration(seconds)}'}")
    print(f"  decoded images: {size_text(cost.cache)} in the cache")
    options = "".join(f" 'data.{key}={value}'" for key, value in project.options.items())
    print(f"\nwritten: {project.recipe}, {project.plan}. Next, one of:")
    print(f"  preceptor train {project.recipe} --data {project.data} --root {project.root}{options} --out runs/kd")
    print(f"  preceptor study {project.plan}")
