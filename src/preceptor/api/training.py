"""``train`` and ``resume``. What can be wrong with names, keys and folders is found before torch is imported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.api.default_task import with_task
from preceptor.api.inputs import (
    ExcludeLike,
    OverridesLike,
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
from preceptor.recipe import Recipe
from preceptor.recipes.overrides import split_overrides
from preceptor.recipes.resolve import resolve
from preceptor.runs.occupied import refuse_occupied
from preceptor.utils.errors import PreceptorError
from preceptor.utils.extras import require_training
from preceptor.utils.imports import import_files
from preceptor.utils.main_guard import refuse_unguarded

if TYPE_CHECKING:
    from preceptor.runs.directory import Run


def train(
    recipe: PathLike | Recipe,
    overrides: OverridesLike | None = (),
    *,
    data: str,
    root: PathLike | None = None,
    fold: int = 0,
    seed: int | None = None,
    out: PathLike | None = None,
    task: str | None = None,
    devices: int = 1,
    exclude: ExcludeLike | None = (),
    cache: PathLike | None = None,
    imports: Iterable[PathLike] = (),
    progress: bool | None = None,
) -> Run:
    """Train a recipe on a data set, evaluate it and write its report.

    Args:
        recipe: a shipped recipe's name, the path of a YAML file, or a :class:`preceptor.recipe.Recipe`.
        overrides: ``key=value`` texts as on the command line, or a mapping; ``data.key`` are options of the reader.
        data: a reader's name, such as ``ham10000``.
        root: the data set's folder (or table).
        fold: which fold is the test part, from 0.
        seed: of weights, order and views.
        out: the run's folder; ``runs/DATA/RECIPE-foldK-seedS`` unless given, with a hash of the overrides and excluded
            ids where there are some.
        task: ``classification``, ``ordinal``, ``multi_label`` or ``segmentation``, for recipes that have it; what the
            data set is published for unless given.
        devices: processes (GPUs, where there are some).
        exclude: ids of images to leave out, or a file with one per line.
        cache: where decoded images are kept.
        imports: Python files that register what the recipe names.
        progress: whether to show progress; in a terminal or notebook unless given.

    Returns:
        The finished run; ``run.metrics`` holds its metrics.

    Raises:
        PreceptorError: whatever is wrong with recipe, data, weights or folder, by key or file.
    """
    refuse_unguarded()
    import_files(imports)
    shown = shows_progress(progress)
    data = text("data", data, "a reader's name, such as ham10000")
    fold, seed = whole_number("fold", fold, 0), optional_number("seed", seed, 0)
    devices = whole_number("devices", devices, 1)
    settings, options = split_overrides(overrides, data)
    settings |= {key: value for key, value in (("seed", seed), ("task", task)) if value is not None}
    if not isinstance(recipe, Recipe):
        recipe = text("recipe", recipe, "a recipe's name, the path of a YAML file, or a Recipe")
        recipe = resolve(recipe, with_task(recipe, settings, data, shown))
    elif settings:
        raise PreceptorError(
            f"{next(iter(settings))}: settings go with a recipe's name or file", remedy="change the Recipe itself"
        )
    ids, folder = excluded_ids(exclude), optional_path(root)
    place = optional_path(out) or default_folder(recipe, data, fold, {**settings, **_of_reader(options)}, ids)
    refuse_occupied(place)
    require_training()
    announce(f"reading {folder or data}", shown)
    from preceptor.runs.data import Data

    source = Data(data, folder, options, ids, fold)
    source.catalog()
    from preceptor.api.completion import write_missing_report
    from preceptor.runs.complete import train_run

    with resumable(f"go on with: preceptor resume {place}"):
        return train_run(
            recipe,
            source,
            place,
            devices=devices,
            cache=optional_path(cache),
            quiet=not shown,
            on_finished=write_missing_report,
        )


def resume(
    run: PathLike,
    *,
    devices: int | None = None,
    root: PathLike | None = None,
    cache: PathLike | None = None,
    imports: Iterable[PathLike] = (),
    progress: bool | None = None,
) -> Run:
    """Continue a run that was stopped, as if it had never stopped; a finished one is returned as it is.

    Networks, predictions, history and report of a finished run that are gone are written again, from its checkpoints.

    Args:
        run: the run's folder.
        devices: processes; as many as the run was started with unless given.
        root: where the data lie now, if they were moved since; the run remembers it.
        cache: where decoded images are kept.
        imports: Python files that register what the recipe names, if they have moved since; each takes the place of the
            one of the same file name that the run was started with.
        progress: whether to show progress; in a terminal or notebook unless given.

    Raises:
        PreceptorError: no run, one whose files or data have changed, a file that it was started with is gone, or a
            finished one lacks files which cannot be written again.
    """
    refuse_unguarded()
    given = list(imports)
    import_files(given)
    shown, place = shows_progress(progress), Path(run).expanduser()
    devices = optional_number("devices", devices, 1)
    _import_recorded(place, moved={Path(file).name for file in given})
    require_training()
    announce(f"reading {place}", shown)
    from preceptor.api.completion import continue_run
    from preceptor.runs.changed_imports import warn_of_changed_imports
    from preceptor.runs.directory import Run as Directory
    from preceptor.runs.restore import missing_outputs

    directory = Directory(place)
    if directory.finished:
        missing = [*missing_outputs(directory), *([] if directory.report.is_file() else [directory.report.name])]
        again = f"is finished; writing {' and '.join(missing)} again"
        announce(f"{place} {again if missing else 'is finished already'}", shown)
    warn_of_changed_imports([directory])
    with resumable(f"go on with: preceptor resume {place}"):
        return continue_run(
            directory, devices=devices, root=optional_path(root), cache=optional_path(cache), quiet=not shown
        )


def recorded_imports(run: Path) -> list[str]:
    """The files that a run was started with (``--import``); none where it has no readable ``environment.json``."""
    try:
        environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []  # reading the run says what is wrong
    imports = environment.get("imports", []) if isinstance(environment, dict) else []
    return [file for file in imports if isinstance(file, str)] if isinstance(imports, list) else []


def _import_recorded(run: Path, moved: Collection[str]) -> None:
    """Import what a run was started with, but for files of the names in ``moved``."""
    for file in recorded_imports(run):
        if Path(file).name in moved:
            continue
        if not Path(file).is_file():
            raise PreceptorError(
                f"{run} was started with --import {file}: no such file",
                remedy=f"give its new place: --import {Path('FOLDER') / Path(file).name}",
            )
        import_files([file])


def default_folder(
    recipe: Recipe, data: str, fold: int, changes: Mapping[str, Any] | None = None, exclude: Iterable[str] = ()
) -> Path:
    """``runs/DATA/RECIPE-foldK-seedS``, with six digits of a hash of what was changed, but for seed and name."""
    changed = {key: value for key, value in (changes or {}).items() if key not in ("seed", "name")}
    excluded = sorted(exclude)
    suffix = ""
    if changed or excluded:
        text = json.dumps([changed, excluded], sort_keys=True, default=str)
        suffix = f"-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    return Path("runs") / data / f"{recipe.name}-fold{fold}-seed{recipe.seed}{suffix}"


def _of_reader(options: Mapping[str, Any]) -> dict[str, Any]:
    return {f"data.{key}": value for key, value in options.items()}
