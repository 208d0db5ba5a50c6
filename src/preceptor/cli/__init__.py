"""The ``preceptor`` command: one module per group of commands, which parses, calls a function of ``preceptor``, prints.

May import every other room, and none may import it. Knows nothing of how a command does its work. Heavy imports lie
inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from preceptor.cli import data, demo, doctor, evaluate, export, init, recipes, serve, study, train, tune
from preceptor.cli.unexpected import Commands, run
from preceptor.utils.machine import keep_freed_memory, openmp_wait_settings
from preceptor.version import __version__

app = typer.Typer(
    name="preceptor",
    help="Knowledge distillation for medical images.",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    init.init,
    train.train,
    train.resume,
    evaluate.evaluate,
    evaluate.predict,
    evaluate.report,
    evaluate.explain,
    evaluate.profile,
    export.export,
    serve.serve,
    study.study,
    tune.tune,
    demo.demo,
    doctor.doctor,
):
    app.command()(command)
app.add_typer(recipes.app, name="recipes")
app.add_typer(data.app, name="data")


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line (exit codes: :func:`preceptor.cli.unexpected.run`)."""
    os.environ.update(openmp_wait_settings())
    keep_freed_memory()
    run(app)


if __name__ == "__main__":
    main()
