"""``preceptor train`` and ``preceptor resume``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from preceptor.cli.options import (
    Cache,
    Devices,
    Exclude,
    Fold,
    Imports,
    Overrides,
    ReaderName,
    RecipeName,
    Root,
    Seed,
    TaskName,
)


def train(
    recipe: RecipeName,
    data: ReaderName,
    overrides: Overrides = None,
    root: Root = None,
    fold: Fold = 0,
    seed: Seed = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder.")] = None,
    task: TaskName = None,
    devices: Devices = None,
    exclude: Exclude = None,
    cache: Cache = None,
    imports: Imports = None,
) -> None:
    """Train a recipe on a data set, evaluate it, write its report."""
    import preceptor
    from preceptor.cli.console import print_run

    print_run(
        preceptor.train(
            recipe,
            data=data,
            overrides=overrides or (),
            root=root,
            fold=fold,
            seed=seed,
            out=out,
            task=task,
            devices=devices or 1,
            exclude=exclude or (),
            cache=cache,
            imports=imports or (),
            progress=True,
        )
    )


def resume(
    run: Annotated[Path, typer.Argument(help="The folder of a run that was stopped.")],
    devices: Devices = None,
    root: Annotated[Path | None, typer.Option(help="Where the data lie now, if they were moved.")] = None,
    cache: Cache = None,
    imports: Imports = None,
) -> None:
    """Continue a stopped run from its last finished epoch, as if it had never stopped."""
    import preceptor
    from preceptor.cli.console import print_run

    print_run(preceptor.resume(run, devices=devices, root=root, cache=cache, imports=imports or (), progress=True))
