"""From a recipe and a data set to a run directory that has everything but its epochs."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch

from preceptor.data.cache import Pixels
from preceptor.data.catalog import Catalog
from preceptor.data.pixel_notes import pixel_notes
from preceptor.data.split import make_split, parts_of, split_notes, training_rows
from preceptor.networks.build import build_networks
from preceptor.networks.pretrained import check_weights
from preceptor.recipe import NetworkConfig, Recipe
from preceptor.runs.data import Data
from preceptor.runs.dependencies import PlannedRun, plan_run
from preceptor.runs.directory import Run
from preceptor.runs.forward_modes import precision_in_words
from preceptor.runs.leakage import refuse_leak
from preceptor.runs.occupied import refuse_occupied
from preceptor.runs.resolve_paths import absolute
from preceptor.runs.schema import FORMAT, DataRecord, Environment
from preceptor.runs.weights import refuse_changed_sources
from preceptor.tasks import TASKS
from preceptor.training.checks import check_batch_size, check_objectives
from preceptor.training.distributed import check_launched
from preceptor.training.network_pass import check_modes
from preceptor.training.objectives import build_objectives
from preceptor.utils.errors import PreceptorWarning
from preceptor.utils.files import sha256_of
from preceptor.utils.imports import imported_files, imported_hashes
from preceptor.version import __version__

_LIBRARIES = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "pandas", "pillow", "scikit-learn")


def prepare(
    recipe: Recipe,
    data: Data,
    out: Path,
    devices: int = 1,
    decode: Callable[[Catalog, Recipe], Pixels] | None = None,
    tested: bool = True,
    planned: PlannedRun | None = None,
    noted: Collection[str] = (),
) -> Run:
    """Writes ``recipe.yaml``, ``environment.json`` and ``split.csv``; nothing is trained yet.

    All that can be wrong with recipe, data or weights is found before the first image is decoded, and all that can be
    wrong with images before anything is written.

    Args:
        decode: given the catalog and the recipe, decodes the images into the cache; left to the training if None, and
            the run then does not know its images from others in files of the same size.
        tested: whether the run may ever know its test part. If not, those images are left out of it like excluded
            ones: it can be trained and validated, and there is nothing that it could be tested on.
        planned: the run as part of a larger plan, whose recipes need not be resolved again.
        noted: notes on the data that the user has been given already.

    Raises:
        PreceptorError: whatever is wrong, by key or file; or ``out`` holds something already.
    """
    check_launched(devices)
    refuse_occupied(out)
    recipe = absolute(recipe)
    check_objectives(recipe)
    catalog = data.catalog()
    planned = planned or plan_run(recipe, data.fold, data.fingerprint, devices)
    for stage in planned.in_order():
        if stage is not planned:
            check_objectives(stage.recipe)
        check_batch_size(stage.recipe, devices)
        check_modes(stage.recipe, devices)
    classes = TASKS[recipe.task].classes(catalog)
    TASKS[recipe.task].check_class_groups(recipe, classes)
    split = split_of(catalog, recipe, data.fold)
    for name, network in recipe.networks.items():
        if network.run is not None:
            refuse_leak(f"networks.{name}.run", Path(network.run), data, split)
    refuse_changed_sources(recipe.networks)
    if not tested:
        unseen = split.loc[split["part"] == "test", "id"].tolist()
        catalog, split = catalog.without(unseen), split[split["part"] != "test"]
        data = replace(data, exclude=(*data.exclude, *unseen)).read_as(catalog)
    expected = {name: _as_trained(planned, name) for name in recipe.networks}  # what is wrong is better known now
    check_weights(
        network
        for stage in planned.in_order()
        if stage is not planned
        for name, network in absolute(stage.recipe).networks.items()
        if name not in stage.dependencies
    )
    networks, starts = build_networks(expected, classes, recipe.image_size, recipe.seed, TASKS[recipe.task].network)
    starts |= {name: f"trained first, in {name}/" for name, config in recipe.networks.items() if config.trained_by}
    rows = training_rows(parts_of(split, catalog.table["id"]), recipe.unlabelled)
    build_objectives(
        recipe, networks, torch.from_numpy(TASKS[recipe.task].targets(catalog)[rows]), len(catalog.classes)
    )
    notes = split_notes(catalog, split)
    _warn(notes, noted)
    pixels = decode(catalog, recipe) if decode is not None else None
    of_pixels = pixel_notes(catalog, pixels) if pixels else []
    _warn(of_pixels, noted)
    notes += of_pixels
    run = Run(out)
    record = data.record(recipe.split.folds, notes).model_copy(update={"pixels": pixels.digest if pixels else ""})
    environment = _environment(recipe, record, devices, starts)
    sources = {name: sha256_of(Path(network.run)) for name, network in recipe.networks.items() if network.run}
    run.write_start(recipe, environment.model_copy(update={"source_hashes": sources}), split)
    run.remember(data=data, planned=planned)
    return run


def _warn(notes: Iterable[str], noted: Collection[str]) -> None:
    for note in notes:
        if note not in noted:
            warnings.warn(note, PreceptorWarning, stacklevel=3)


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


def _as_trained(planned: PlannedRun, name: str) -> NetworkConfig:
    """A network as it will be when the runs before this one are finished, but for its weights."""
    if name not in planned.dependencies:
        return absolute(planned.recipe).networks[name]
    stage = planned.dependencies[name]
    learning = [learner for learner, network in stage.recipe.networks.items() if network.learns]
    trained = name if name in learning else learning[0]
    return _as_trained(stage, trained).model_copy(update={"pretrained": "none"})


def command_line() -> str:
    """What was typed, so that it can be given again."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _environment(recipe: Recipe, data: DataRecord, devices: int, starts: Mapping[str, str]) -> Environment:
    libraries = {name: version(name) for name in _LIBRARIES}
    return Environment(
        format=FORMAT,
        versions={"preceptor": __version__, "python": platform.python_version(), **libraries},
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        threads=torch.get_num_threads(),
        processes=devices,
        precision=precision_in_words(recipe),
        seed=recipe.seed,
        command=command_line(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        starts=dict(starts),
        data=data,
        split_hash="",
        imports=imported_files(),
        import_hashes=imported_hashes(),
    )
