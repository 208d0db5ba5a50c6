"""Complete a run from its current state: what must be trained first, epochs, evaluation."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from preceptor.data.cache import Pixels, open_pixels
from preceptor.data.catalog import Catalog
from preceptor.networks.build import AnyNetwork
from preceptor.recipe import Recipe
from preceptor.runs.create import prepare
from preceptor.runs.data import Data
from preceptor.runs.directory import Run
from preceptor.runs.evaluate_run import finish
from preceptor.runs.occupied import LOCK
from preceptor.runs.restore import missing_outputs, restore_outputs
from preceptor.runs.resumable import check_unchanged
from preceptor.runs.worker import fit
from preceptor.tasks import TASKS
from preceptor.training.checks import check_batch_size
from preceptor.training.distributed import launch
from preceptor.training.one_at_a_time import one_training
from preceptor.training.progress import Display
from preceptor.utils.errors import PreceptorError
from preceptor.utils.locks import locked

#: Called with each run that is finished, those that were trained first before the others; writes a report, say.
OnFinished = Callable[[Run], object]


def train_run(
    recipe: Recipe,
    data: Data,
    out: Path,
    *,
    devices: int = 1,
    cache: Path | None = None,
    quiet: bool = True,
    on_finished: OnFinished | None = None,
) -> Run:
    """Prepare a run in a new or empty folder and take it to its end; the folder is locked from the first check on.

    Args:
        cache: where decoded images are kept.

    Raises:
        PreceptorError: whatever is wrong with recipe, data, weights or folder; another process is at work on the run,
            or another thread trains one.
    """
    with one_training(), at_work(out):
        run = prepare(recipe, data, out, devices, decoder(cache, quiet))
        _complete(run, devices, cache, quiet, on_finished)
    return run


def complete(
    run: Run,
    *,
    devices: int | None = None,
    cache: Path | None = None,
    quiet: bool = True,
    on_finished: OnFinished | None = None,
    patience: float = 0,
) -> None:
    """Take a prepared, stopped or finished run to its end; files of a finished one that are gone are written again.

    Args:
        devices: processes; as many as it was started with unless given.
        patience: seconds to wait for another process that is at work on it.

    Raises:
        PreceptorError: the run or its data have changed, or another process is at work on it, or another thread trains
            one.
    """
    _ = run.environment  # no lock in a folder that is no run
    with one_training(), at_work(run.path, patience):
        _complete(run, devices or run.environment.processes, cache, quiet, on_finished)


def train_epochs(run: Run, devices: int, cache: Path | None, quiet: bool) -> dict[str, AnyNetwork] | None:
    """Train a run to the end of its epochs.

    Returns:
        Its networks as the last epoch left them; None where other processes have trained them.
    """
    check_unchanged(run)
    torch.set_num_threads(run.environment.threads)  # the last bits depend on their number
    decoder(cache, quiet)(run.catalog(), run.recipe)
    given = run if devices == 1 else run.path  # Fabric cannot send a frozen dataclass to other processes
    return launch(fit, devices, given, cache, quiet)  # type: ignore[no-any-return]


@contextmanager
def at_work(path: Path, patience: float = 0) -> Iterator[None]:
    """Hold the folder of a run; one that was made for it and got no run vanishes again.

    Raises:
        PreceptorError: another process holds it, or it cannot be written to.
    """
    alone = path.exists() and not path.is_dir()  # a file, which is refused with a message of its own
    if alone or os.environ.get("RANK", "0") != "0":  # of a run that torchrun started, rank 0 holds it for all
        yield
        return
    busy = f"{path}: another process is at work on this run"
    made = not path.exists()
    with locked(path / LOCK, busy, "wait for it, end it, or choose another --out", patience=patience):
        try:
            yield
        finally:
            if not Run(path).exists:
                (path / LOCK).unlink(missing_ok=True)
                if made and not any(path.iterdir()):
                    path.rmdir()


def decoder(cache: Path | None, quiet: bool) -> Callable[[Catalog, Recipe], Pixels]:
    """Return a function that fills the cache with what a recipe needs of a catalog, before processes start."""

    def decode(catalog: Catalog, recipe: Recipe) -> Pixels:
        with Display("decoding", quiet) as display, display.counting("decoding images", len(catalog)) as move:
            return open_pixels(
                catalog,
                recipe.image_size,
                masks=TASKS[recipe.task].needs_masks,
                directory=cache,
                progress=move,
            )

    return decode


def _complete(run: Run, devices: int, cache: Path | None, quiet: bool, on_finished: OnFinished | None) -> None:
    if run.finished:
        check_unchanged(run)
        if missing := missing_outputs(run):
            for name, network in run.recipe.networks.items():
                stage = run.stage(name)
                if network.trained_by is not None and stage.finished:
                    with at_work(stage.path):
                        _complete(stage, devices, cache, quiet, on_finished)
            restore_outputs(run, missing, cache)
    else:
        if "test" not in set(run.split["part"]):
            raise PreceptorError(
                f"{run.path}: is a trial of a search, and has no test part",
                remedy="train the search's best.yaml, or go on with the search",
            )
        check_batch_size(run.recipe, devices)  # of another number than it was started with
        for name, planned in run.planned.dependencies.items():
            stage = run.stage(name)
            with at_work(stage.path):
                if not stage.exists:
                    stage = prepare(
                        planned.recipe,
                        run.data,
                        stage.path,
                        devices,
                        decoder(cache, quiet),
                        planned=planned,
                        noted=run.environment.data.notes,
                    )
                _complete(stage, devices, cache, quiet, on_finished)
        finish(run, cache, train_epochs(run, devices, cache, quiet))
    if on_finished is not None:
        on_finished(run)
