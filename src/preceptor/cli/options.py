"""Options and arguments that several commands share, with their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

READERS = "folder, table, or a published data set; 'preceptor data list' names them"

RecipeName = Annotated[str, typer.Argument(help="A recipe's name, or a YAML file.")]
ReaderName = Annotated[str, typer.Option("--data", help=f"Reader: {READERS}.")]
OtherReader = Annotated[str | None, typer.Option("--data", help="Another reader than the plan's.")]
Root = Annotated[Path | None, typer.Option("--root", help="The data set's folder (or table).")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="As in epochs=30 or data.label=dx.")]
ReaderOptions = Annotated[
    list[str] | None, typer.Argument(metavar="data.KEY=VALUE", help="Options of the reader, data.key=value.")
]
Fold = Annotated[int, typer.Option("--fold", min=0, help="Which fold is the test part.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Seed of weights, order and views.")]
TaskName = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="classification, ordinal, multi_label or segmentation; what the data set is published for unless given.",
    ),
]
Exclude = Annotated[Path | None, typer.Option("--exclude", help="File with ids to leave out, one per line.")]
Cache = Annotated[Path | None, typer.Option("--cache", help="Where decoded images are kept.")]
Devices = Annotated[int | None, typer.Option("--devices", min=1, help="Processes (one GPU each).")]
Imports = Annotated[
    list[Path] | None,
    typer.Option(
        "--import",
        metavar="FILE",
        help="Python file that registers a loss, recipe, reader, metric or task.",
    ),
]
