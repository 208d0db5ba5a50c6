"""``tune``: a search for loss weights and other settings on the validation part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.api.default_task import with_task
from preceptor.api.inputs import (
    ExcludeLike,
    PathLike,
    announce,
    excluded_ids,
    optional_number,
    optional_path,
    resumable,
    shows_progress,
    text,
    whole_number,
)
from preceptor.recipes.overrides import split_overrides
from preceptor.recipes.resolve import resolve
from preceptor.runs.occupied import refuse_occupied_by_other
from preceptor.utils.extras import require_training
from preceptor.utils.files import refuse_unwritable
from preceptor.utils.imports import import_files
from preceptor.utils.main_guard import refuse_unguarded

if TYPE_CHECKING:
    from preceptor.tune.record import Search, Trial


@dataclass(frozen=True)
class TuningResult:
    """A search and its trials.

    Attributes:
        search: what was searched, and where.
        trials: all trials, the best first.
        best: the YAML file of the best recipe.
        table: the CSV of all trials.
    """

    search: Search
    trials: list[Trial]
    best: Path
    table: Path


def tune(
    recipe: PathLike,
    overrides: Iterable[str] | None = (),
    *,
    data: str,
    root: PathLike | None = None,
    trials: int = 20,
    fold: int = 0,
    seed: int | None = None,
    out: PathLike | None = None,
    task: str | None = None,
    devices: int = 1,
    exclude: ExcludeLike | None = (),
    cache: PathLike | None = None,
    imports: Iterable[PathLike] = (),
    progress: bool | None = None,
    say: Callable[[str], None] | None = None,
) -> TuningResult:
    """Search for settings on the validation part; the test part is not read. The same call again continues.

    Args:
        recipe: a recipe's name, or a YAML file.
        overrides: what to search (``objectives.kl.weight=log(0.01,10)``, ``key=uniform(a,b)``, ``key=int(a,b)``,
            ``key=choice(a,b,c)``), and ``key=value`` as for :func:`preceptor.train`.
        data: a reader's name.
        root: the data set's folder (or table).
        trials: how many in all, those of earlier calls counted.
        fold: the fold whose test part is never read.
        seed: of the search and of every trial.
        out: the search's folder; ``tunes/DATA/RECIPE`` unless given.
        task: ``classification``, ``ordinal``, ``multi_label`` or ``segmentation``, for recipes that have it; what the
            data set is published for unless given.
        devices: processes (GPUs, where there are some).
        exclude: ids to leave out, or a file with one per line.
        cache: where decoded images are kept.
        imports: Python files that register what the recipe names.
        progress: whether to show progress; in a terminal or notebook unless given.
        say: called with a line on each trial; it is printed unless given.

    Raises:
        PreceptorError: wrong keys or ranges, before anything is trained; a folder that holds another search, or
            anything that no search wrote.
    """
    refuse_unguarded()
    import_files(imports)
    recipe = text("recipe", recipe, "a recipe's name, or the path of a YAML file")
    data = text("data", data, "a reader's name, such as ham10000")
    fold, seed = whole_number("fold", fold, 0), optional_number("seed", seed, 0)
    trials, devices = whole_number("trials", trials, 1), whole_number("devices", devices, 1)
    from preceptor.tune.space import split_space

    space, rest = split_space(list(overrides or ()))
    settings, options = split_overrides(rest, data)
    settings |= {key: value for key, value in (("seed", seed), ("task", task)) if value is not None}
    ids, shown = excluded_ids(exclude), shows_progress(progress)
    folder = optional_path(out) or Path("tunes") / data / Path(recipe).stem
    refuse_unwritable(folder)
    refuse_occupied_by_other(folder, "search")
    settings = with_task(recipe, settings, data, shown)
    resolve(recipe, settings)  # what is mistyped is found before torch is imported
    require_training()
    announce(f"reading {root or data}", shown)
    from preceptor.runs.data import Data

    source = Data(data, optional_path(root), options, ids, fold)
    source.catalog()
    from preceptor.tune.record import BEST, TABLE, Search
    from preceptor.tune.search import tune as run_search

    search = Search(
        recipe,
        settings,
        space,
        source,
        folder,
        seed or 0,
        devices,
        optional_path(cache),
        say=say or (lambda text: announce(text, shown)),
    )
    with resumable("the same command continues from the last finished epochs"):
        ranked = run_search(search, trials)
    return TuningResult(search, ranked, folder / BEST, folder / TABLE)
