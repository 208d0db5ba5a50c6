"""One trial: trained from wherever it stands, on data that do not hold the test part."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preceptor.recipe import Recipe
from preceptor.runs.complete import decoder, train_epochs
from preceptor.runs.create import prepare
from preceptor.runs.dependencies import PlannedRun, plan_run
from preceptor.runs.directory import Run
from preceptor.runs.evaluate_run import save_networks
from preceptor.runs.worker import best_networks
from preceptor.tune.record import Search
from preceptor.tune.space import Value
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import is_full


def attempt(search: Search, number: int, values: Mapping[str, Value]) -> dict[str, Any]:
    """Train a trial and write down ``value``, ``epoch`` (the best one), ``epochs`` and ``seconds``, or ``error``.

    The traceback of an unexpected error goes to standard error.

    Raises:
        OSError: the disk is full, which no other trial would survive; this one goes on when there is room.
        PreceptorError: the same, of the pixel cache.
    """
    began = time.perf_counter()
    try:
        return _train(search, number, values)
    except PreceptorError as error:
        if is_full(error.__cause__):
            raise
        message = error.message
    except Exception as error:  # memory that one batch size needs, say: the other trials can still be trained
        if is_full(error):
            raise
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
    return search.write_outcome(number, error=message, seconds=time.perf_counter() - began)


def _train(search: Search, number: int, values: Mapping[str, Value]) -> dict[str, Any]:
    """Train one trial from wherever it stands: its value, best epoch, epochs and seconds."""
    run = Run(search.folder(number))
    if not run.exists:
        recipe = search.resolved(values)
        planned = plan_run(recipe, search.data.fold, search.data.fingerprint, search.devices)
        run = _prepare(search, _with_runs(search, planned), run.path)
    train_epochs(run, search.devices, search.cache, search.quiet)
    progress = run.checkpoints.progress()
    result = {"value": progress.best, "epoch": progress.best_epoch, "epochs": progress.epoch}
    return search.write_outcome(number, **result, seconds=progress.seconds)


def discard_weights(search: Search, number: int) -> None:
    """Remove the checkpoints of a trial that has ended, also what a process that was killed over it has left."""
    shutil.rmtree(Run(search.folder(number)).checkpoint.parent, ignore_errors=True)


def _with_runs(search: Search, planned: PlannedRun) -> Recipe:
    """The recipe with the networks that are trained first, which now they are, taken from their runs."""
    paths = {first.identity: _train_first(search, name, first) for name, first in planned.dependencies.items()}
    return planned.with_runs(paths)


def _train_first(search: Search, name: str, planned: PlannedRun) -> Path:
    """The run that trains a network first, on the training part of the search; once for all trials that want it."""
    run = Run(search.out / "stages" / f"{name}-{planned.identity[:12]}")
    if _is_trained(run, planned.recipe):
        return run.path
    if not run.exists:
        run = _prepare(search, _with_runs(search, planned), run.path)
    search.say(f"{name} is trained first, in {run.path}")
    trained = train_epochs(run, search.devices, search.cache, search.quiet)
    save_networks(run, run.recipe, best_networks(run, run.recipe, run.catalog(), trained), {})
    return run.path


def _is_trained(run: Run, recipe: Recipe) -> bool:
    """Whether every network of a stage has its file; the last one comes when all are written."""
    trained = [name for name, network in recipe.networks.items() if network.has_own_file]
    return all(run.network_file(name).is_file() for name in trained)


def _prepare(search: Search, recipe: Recipe, path: Path) -> Run:
    return prepare(recipe, search.data, path, search.devices, decoder(search.cache, search.quiet), tested=False)
