"""``preceptor.train`` and ``preceptor.load``: the commands as functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from preceptor.data.cache import open_pixels
from preceptor.data.catalog import Catalog
from preceptor.networks.build import find_network
from preceptor.networks.files import load_network
from preceptor.networks.kinds import Network
from preceptor.recipe import Recipe
from preceptor.recipes.resolve import resolve
from preceptor.report.run_report import write_report
from preceptor.runs.create import Data, default_path, prepare, prepare_stages
from preceptor.runs.directory import Run
from preceptor.runs.evaluate_run import finish
from preceptor.runs.worker import fit
from preceptor.tasks import TASKS
from preceptor.training.distributed import launch
from preceptor.training.progress import Display
from preceptor.utils.errors import PreceptorError


def train(
    recipe: str | Recipe,
    *,
    data: str,
    root: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    exclude: Iterable[str] = (),
    fold: int = 0,
    out: str | Path | None = None,
    devices: int = 1,
    cache: str | Path | None = None,
    quiet: bool = True,
    overrides: Iterable[str] | Mapping[str, Any] = (),
) -> Run:
    """Trains a recipe on a data set, evaluates it and writes the report; what ``preceptor train`` does.

    Args:
        recipe: a shipped recipe's name, the path of a YAML file, or a :class:`preceptor.recipe.Recipe`.
        data: a reader's name, such as ``ham10000``.
        root: the data set's folder.
        options: the reader's options.
        exclude: ids of images to leave out.
        fold: which fold is the test part, from 0.
        out: the run's folder; ``runs/DATA/RECIPE-foldK-seedS`` unless given.
        devices: processes (GPUs, where there are some).
        cache: where decoded images are kept.
        overrides: ``key=value`` texts or a mapping, as on the command line. For a ``Recipe`` leave it empty.

    Returns:
        The finished run; ``run.metrics`` holds its figures.

    Raises:
        PreceptorError: whatever is wrong with recipe, data, weights or folder, by key or file.
    """
    if isinstance(recipe, str):
        overrides = overrides if isinstance(overrides, Mapping) else list(overrides)
        recipe = resolve(recipe, overrides)
    elif overrides:
        raise PreceptorError("overrides go with a recipe's name or file", remedy="change the Recipe itself")
    where = Data(data, Path(root) if root else None, dict(options or {}), tuple(exclude), fold)
    folder, kept = Path(out) if out else default_path(recipe, where), Path(cache) if cache else None
    run = prepare(recipe, where, folder, devices, decoder(kept, quiet))
    return carry_on(run, devices=devices, cache=kept, quiet=quiet)


def carry_on(run: Run, *, devices: int | None = None, cache: Path | None = None, quiet: bool = True) -> Run:
    """Takes a run from wherever it stands to its end: stages, epochs, evaluation, report.

    A prepared run is one that was stopped before its first epoch, so this is both ``train`` and ``resume``.
    """
    devices = devices or run.environment.processes
    if not run.finished:
        if "test" not in set(run.split["part"]):
            raise PreceptorError(
                f"{run.path}: is a trial of a search, and has no test part",
                remedy="train the search's best.yaml, or go on with the search",
            )
        for stage in prepare_stages(run, devices):
            carry_on(stage, devices=devices, cache=cache, quiet=quiet)
        recipe = run.recipe
        decoder(cache, quiet)(run.catalog(), recipe)
        launch(fit, recipe, devices, run.path, cache, quiet)
        finish(run, cache)
    if not run.report.is_file():
        write_report([run.path], run.report)
    return run


def load(run: str | Path, network: str = "student") -> Network:
    """A finished run's network in evaluation mode: images (B, 3, S, S) in [0, 1] to ``NetworkOutput``.

    Args:
        run: a run's folder, or one of its ``.safetensors`` files.
        network: which one, where the run has several.
    """
    return load_network(find_network(Path(run), network, "load", choose="network={!r}"))[0]


def decoder(cache: Path | None, quiet: bool) -> Callable[[Catalog, Recipe], None]:
    """Fills the cache with what a recipe needs of a catalog, showing a bar; in one process, before others start."""

    def decode(catalog: Catalog, recipe: Recipe) -> None:
        with Display("decoding", quiet) as display, display.counting("decoding images", len(catalog)) as move:
            open_pixels(
                catalog,
                recipe.image_size,
                masks=TASKS[recipe.task].needs_masks,
                directory=cache,
                progress=lambda done, total: move(1),
            )

    return decode
