"""``preceptor tune``."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.table import Table

from preceptor.cli.commands import goes_on, read_ids, split_overrides, wide_console
from preceptor.runs.create import Data
from preceptor.tune.record import BEST, TABLE, Search, Trial
from preceptor.tune.search import tune as run_search
from preceptor.tune.space import split_space

_SHOWN = 10


@goes_on()
def tune(
    recipe: str, data: str, overrides: list[str], root: Path | None, trials: int, fold: int, seed: int | None,
    out: Path | None, devices: int, exclude: Path | None, cache: Path | None,
) -> None:  # fmt: skip
    """Searches, and prints the best trials. Exits with 130 when it is interrupted."""
    space, rest = split_space(overrides)
    settings, options = split_overrides(rest)
    if seed is not None:
        settings["seed"] = seed
    console = wide_console()
    search = Search(
        recipe, settings, space, Data(data, root, options, read_ids(exclude), fold),
        out or Path("tunes") / data / Path(recipe).stem, seed or 0, devices, cache,
        say=lambda text: console.print(text, markup=False, soft_wrap=True),
    )  # fmt: skip
    ranked = run_search(search, trials)
    console.print(_table(search, ranked))
    console.print(f"best: {search.out / BEST} (all: {search.out / TABLE}); the test part was not read")
    given = [one for one in rest if one.startswith("data.")]
    said = f"train it: {_train_command(search, given, exclude)}"
    console.print(said, markup=False, emoji=False, soft_wrap=True)


def _train_command(search: Search, options: list[str], exclude: Path | None) -> str:
    """What trains the best recipe on the search's own data and fold, whose test part alone was not searched on."""
    data = search.data
    words = ["preceptor", "train", str(search.out / BEST), "--data", data.name, "--fold", str(data.fold)]
    for name, value in (("--root", data.root), ("--exclude", exclude), ("--cache", search.cache)):
        words += [name, str(value)] if value is not None else []
    words += ["--devices", str(search.devices)] if search.devices > 1 else []
    return shlex.join([*words, *options])


def _table(search: Search, ranked: list[Trial]) -> Table:
    select = search.resolved({}).select
    table = Table(title=f"validation {select.metric.replace('_', ' ')} of {' and '.join(select.networks)}", box=None)
    for heading in ("trial", "value", "epoch", *(one.key for one in search.space)):
        table.add_column(heading, justify="right")
    for one in ranked[:_SHOWN]:
        values = (one.values.get(dimension.key) for dimension in search.space)
        said = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in values)
        value = "failed" if one.value is None else f"{one.value:.4f}"
        table.add_row(str(one.number), value, str(one.epoch or "–"), *said)
    return table
