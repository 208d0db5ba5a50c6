"""Takes a prepared run to its end: stages, epochs, evaluation, report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from preceptor.data.cache import open_pixels
from preceptor.data.catalog import Catalog
from preceptor.recipe import Recipe
from preceptor.report.run_report import write_report
from preceptor.runs.create import prepare_stages
from preceptor.runs.directory import Run
from preceptor.runs.evaluate_run import finish
from preceptor.runs.worker import fit
from preceptor.tasks import TASKS
from preceptor.training.distributed import launch
from preceptor.training.progress import Display
from preceptor.utils.errors import PreceptorError


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
