"""``preceptor tune``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from preceptor.cli.options import Cache, Devices, Exclude, Imports, ReaderName, RecipeName, Root, TaskName

if TYPE_CHECKING:
    from rich.table import Table

    from preceptor.api.tuning import TuningResult

_SHOWN = 10  # trials in the table


def tune(
    recipe: RecipeName,
    data: ReaderName,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="What to search, in quotes: 'objectives.kl.weight=log(0.01,10)', 'key=uniform(a,b)', 'key=int(a,b)', "
            "'key=choice(a,b,c)'; and key=value as for train",
        ),
    ] = None,
    root: Root = None,
    trials: Annotated[int, typer.Option(min=1, help="How many in all, those of earlier calls counted.")] = 20,
    fold: Annotated[int, typer.Option(min=0, help="The fold whose test part is left out of the search.")] = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the search and of every trial.")] = None,
    out: Annotated[Path | None, typer.Option(help="The search's folder.")] = None,
    task: TaskName = None,
    devices: Devices = None,
    exclude: Exclude = None,
    cache: Cache = None,
    imports: Imports = None,
) -> None:
    """Search for settings (weights of losses, rates, …) on the validation part.

    The test part is not read. The same command again continues.
    """
    import preceptor
    from preceptor.cli.console import wide_console

    console = wide_console()
    result = preceptor.tune(
        recipe,
        overrides or (),
        data=data,
        root=root,
        trials=trials,
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
    console.print(_table(result))
    print(f"best: {result.best} (all: {result.table}); the test part was not read")
    print(
        f"train it: {_train_command(result, [text for text in overrides or [] if text.startswith('data.')], exclude)}"
    )


def _train_command(result: TuningResult, options: list[str], exclude: Path | None) -> str:
    """The command that trains the best recipe on the search's own data and fold, whose test part alone is unread."""
    search = result.search
    words = ["preceptor", "train", str(result.best), "--data", search.data.name, "--fold", str(search.data.fold)]
    for name, value in (("--root", search.data.root), ("--exclude", exclude), ("--cache", search.cache)):
        words += [name, str(value)] if value is not None else []
    words += ["--devices", str(search.devices)] if search.devices > 1 else []
    return shlex.join([*words, *options])


def _table(result: TuningResult) -> Table:
    from rich.table import Table
    from rich.text import Text

    search, select = result.search, result.search.resolved({}).select
    table = Table(title=f"validation {select.metric.replace('_', ' ')} of {' and '.join(select.networks)}", box=None)
    for heading in ("trial", "value", "epoch", *(dimension.key for dimension in search.space)):
        table.add_column(Text(heading), justify="right")
    for trial in result.trials[:_SHOWN]:
        values = (trial.values.get(dimension.key) for dimension in search.space)
        cells = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in values)
        score = "failed" if trial.value is None else f"{trial.value:.4f}"
        table.add_row(str(trial.number), score, str(trial.epoch or "–"), *map(Text, cells))
    return table
