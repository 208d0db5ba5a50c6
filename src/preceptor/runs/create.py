"""From a recipe and a data set to a run directory that has everything but its epochs."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from preceptor.data.catalog import Catalog
from preceptor.data.split import make_split, parts_of, split_notes
from preceptor.networks.build import build_networks
from preceptor.recipe import NetworkConfig, Recipe
from preceptor.recipes.resolve import resolve
from preceptor.runs.data import Data
from preceptor.runs.directory import Run
from preceptor.runs.leakage import refuse_leak
from preceptor.runs.occupied import refuse_occupied
from preceptor.runs.resolve_paths import absolute
from preceptor.runs.schema import FORMAT, Environment
from preceptor.tasks import TASKS
from preceptor.training.checks import check_objectives
from preceptor.training.distributed import precision_of
from preceptor.training.objectives import build_objectives
from preceptor.utils.errors import PreceptorError
from preceptor.utils.imports import imported_files
from preceptor.version import __version__

_HANDED_ON = ("image_size", "batch_size", "epochs", "seed", "precision", "protocol", "resample")
_LIBRARIES = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "pandas", "pillow", "scikit-learn")


def prepare(
    recipe: Recipe,
    data: Data,
    out: Path,
    devices: int = 1,
    decode: Callable[[Catalog, Recipe], object] | None = None,
    tested: bool = True,
) -> Run:
    """Writes ``recipe.yaml``, ``environment.json`` and ``split.csv``; nothing is trained yet.

    All that can be wrong with recipe, data or weights is found before the first image is decoded, and all that can be
    wrong with images before anything is written.

    Args:
        decode: given the catalog and the recipe, decodes the images into the cache; left to the training if None.
        tested: whether the run may ever know its test part. If not, those images are left out of it like excluded
            ones: it can be trained and validated, and there is nothing that it could be tested on.

    Raises:
        PreceptorError: whatever is wrong, by key or file; or ``out`` holds something already.
    """
    refuse_occupied(out)
    recipe = absolute(recipe)
    check_objectives(recipe)
    catalog = data.catalog()
    classes = TASKS[recipe.task].classes(catalog)
    split = split_of(catalog, recipe, data.fold)
    for name, network in recipe.networks.items():
        if network.run is not None:
            refuse_leak(f"networks.{name}.run", Run(Path(network.run).parent), data.name, split)
    if not tested:
        unseen = split.loc[split["part"] == "test", "id"].tolist()
        catalog, split = catalog.without(unseen), split[split["part"] != "test"]
        data = replace(data, exclude=(*data.exclude, *unseen))
    expected = {name: _as_trained(recipe, name) for name in recipe.networks}  # what is wrong is better known now
    networks, starts = build_networks(expected, classes, recipe.image_size, recipe.seed, TASKS[recipe.task].network)
    starts |= {name: f"trained first, in {name}/" for name, one in recipe.networks.items() if one.trained_by}
    rows = torch.from_numpy(catalog.labels[parts_of(split, catalog.table["id"]) == "train"])
    build_objectives(recipe, networks, rows, len(catalog.classes))
    if decode is not None:
        decode(catalog, recipe)
    run = Run(out)
    run.write_start(
        recipe, _environment(recipe, data, catalog, devices, starts, split_notes(catalog, split)), split, catalog
    )
    return run


def split_of(catalog: Catalog, recipe: Recipe, fold: int) -> pd.DataFrame:
    """The parts that a recipe makes of a data set, with this fold as its test part."""
    return make_split(
        catalog,
        folds=recipe.split.folds,
        fold=fold,
        seed=recipe.split.seed,
        validation=recipe.split.validation,
        protocol=recipe.protocol,
        source=recipe.split.source,
    )


def prepare_stages(run: Run, devices: int = 1) -> list[Run]:
    """The runs that must be finished before this one, prepared where they are not there yet."""
    recipe, stages = run.recipe, []
    for name, network in recipe.networks.items():
        if network.trained_by is not None:
            stage = run.stage(name)
            if not stage.exists:
                prepare(stage_recipe(recipe, name), run.data, stage.path, devices)
            stages.append(stage)
    return stages


def stage_recipe(recipe: Recipe, name: str) -> Recipe:
    """The recipe that trains network ``name`` of ``recipe`` first: same data, budget and seed, its own settings on top.

    Raises:
        PreceptorError: the recipe named under ``trained_by`` does not train a network of this kind.
    """
    network = recipe.networks[name]
    assert network.trained_by is not None
    base = resolve(network.trained_by.recipe)
    learning = [one for one, said in base.networks.items() if said.learns]
    left = [one for one, said in base.networks.items() if said.frozen is not True]  # each gets a file
    if (name not in left and len(left) != 1) or (name not in learning and len(learning) != 1):
        raise PreceptorError(
            f"networks.{name}.trained_by: the recipe {base.name!r} trains {', '.join(left)}",
            expected=f"a recipe that trains one network, or one called {name!r}",
        )
    trained = name if name in learning else learning[0]
    if network.frozen is True and network.projection not in (None, base.networks[trained].projection):
        raise PreceptorError(
            f"networks.{name}.projection: the recipe {base.name!r} trains no such head",
            remedy=f"set networks.{name}.trained_by to a recipe that does, such as sskd_head for mlp",
        )
    handed_on: dict[str, Any] = {
        **{key: getattr(recipe, key) for key in _HANDED_ON},
        **{f"split.{key}": value for key, value in recipe.split.model_dump().items()},
    }
    if recipe.task != base.task:
        handed_on["task"] = recipe.task
    said = network.trained_by.set
    if not {"run", "teacher", f"networks.{trained}.run"} & said.keys():  # else it is what it is
        # a recipe's argument of that name says the same, and has the last word
        shape = [key for key in ("backbone", "pretrained", "dropout", "bottleneck", "map_channels") if key not in said]
        handed_on |= {f"networks.{trained}.{key}": getattr(network, key) for key in shape}
        for nested, one in base.networks.items():  # a stage of the stage has this run's budget, not that stage's
            if one.trained_by is not None:
                handed_on[f"networks.{nested}.trained_by.set.epochs"] = recipe.epochs
    return resolve(network.trained_by.recipe, {**handed_on, **said})


def _as_trained(recipe: Recipe, name: str) -> NetworkConfig:
    """A network as it will stand when the runs before this one are done, but for its weights."""
    network = recipe.networks[name]
    if network.trained_by is None:
        return network
    stage = absolute(stage_recipe(recipe, name))
    learning = [one for one, said in stage.networks.items() if said.learns]
    trained = name if name in learning else learning[0]
    return _as_trained(stage, trained).model_copy(update={"pretrained": "none"})


def command_line() -> str:
    """What was typed, so that it can be given again."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _environment(
    recipe: Recipe, data: Data, catalog: Catalog, devices: int, starts: Mapping[str, str], notes: list[str]
) -> Environment:
    libraries = {name: version(name) for name in _LIBRARIES}
    return Environment(
        format=FORMAT,
        versions={"preceptor": __version__, "python": platform.python_version(), **libraries},
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        threads=torch.get_num_threads(),
        processes=devices,
        precision=precision_of(recipe),
        seed=recipe.seed,
        command=command_line(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        starts=dict(starts),
        data=data.record(catalog, catalog.fingerprint(), recipe.split.folds, notes),
        split_hash="",
        imports=imported_files(),
    )
