"""One trial: trained from wherever it stands, on data that do not hold the test part."""

from __future__ import annotations

import hashlib
import shutil
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preceptor.api.completion import decoder
from preceptor.recipe import NetworkConfig, Recipe
from preceptor.recipes.resolve import to_yaml
from preceptor.runs.create import prepare, stage_recipe
from preceptor.runs.directory import Run
from preceptor.runs.evaluate_run import save_networks
from preceptor.runs.worker import best_networks, fit
from preceptor.training.distributed import launch
from preceptor.tune.record import Search
from preceptor.tune.space import Value
from preceptor.utils.errors import PreceptorError


def attempt(search: Search, number: int, values: Mapping[str, Value]) -> dict[str, Any]:
    """Trains a trial, and notes ``value``, ``epoch`` (the best one), ``epochs`` and ``seconds``, or ``error``.

    The traceback of what nobody foresaw goes to standard error.
    """
    began = time.perf_counter()
    try:
        return _train(search, number, values)
    except PreceptorError as error:
        said = str(error)
    except Exception as error:  # memory that one batch size needs, say: the other trials can still be trained
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}"
    return search.note(number, error=said, seconds=time.perf_counter() - began)


def _train(search: Search, number: int, values: Mapping[str, Value]) -> dict[str, Any]:
    """Trains one trial from wherever it stands: its value, best epoch, epochs and seconds. The weights are not kept."""
    run = Run(search.folder(number))
    if not (run.path / "environment.json").is_file():
        _prepare(search, _with_stages(search, search.resolved(values)), run.path)
    launch(fit, run.recipe, search.devices, run.path, search.cache, search.quiet)
    progress = run.checkpoints.progress()
    found = {"value": progress.best, "epoch": progress.best_epoch, "epochs": progress.epoch}
    search.note(number, **found, seconds=progress.seconds)
    shutil.rmtree(run.checkpoint.parent)
    return found


def _with_stages(search: Search, recipe: Recipe) -> Recipe:
    """The recipe, its networks that are to be trained first replaced by those that now are."""
    networks = dict(recipe.networks)
    for name, network in recipe.networks.items():
        if network.trained_by is not None:
            path = _stage(search, name, _with_stages(search, stage_recipe(recipe, name)))
            networks[name] = NetworkConfig(run=str(path), frozen=network.frozen, projection=network.projection)
    return recipe.model_copy(update={"networks": networks})


def _stage(search: Search, name: str, recipe: Recipe) -> Path:
    """The run that trains a network first, on the training part of the search; once for all trials that want it."""
    key = hashlib.sha256(to_yaml(recipe).encode()).hexdigest()[:12]
    run = Run(search.out / "stages" / f"{name}-{key}")
    if any(run.path.glob("*.safetensors")):
        return run.path
    if not (run.path / "environment.json").is_file():
        _prepare(search, recipe, run.path)
    search.say(f"{name} is trained first, in {run.path}")
    launch(fit, run.recipe, search.devices, run.path, search.cache, search.quiet)
    save_networks(run, run.recipe, best_networks(run, run.recipe, run.catalog()), {})
    return run.path


def _prepare(search: Search, recipe: Recipe, path: Path) -> None:
    prepare(recipe, search.data, path, search.devices, decoder(search.cache, search.quiet), tested=False)
