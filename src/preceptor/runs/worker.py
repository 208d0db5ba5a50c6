"""One process's part of a run: builds everything from the run directory and trains to the end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from lightning_fabric import Fabric

from preceptor.data.batches import Loader
from preceptor.data.cache import open_pixels
from preceptor.data.catalog import Catalog
from preceptor.data.split import parts_of, training_rows
from preceptor.networks.build import AnyNetwork, build_networks
from preceptor.recipe import NetworkConfig, Recipe
from preceptor.runs.directory import Run
from preceptor.runs.forward_modes import settle_modes
from preceptor.runs.same_images import check_images
from preceptor.runs.weights import own_checkpoint, refuse_changed_sources, shared_checkpoint
from preceptor.tasks import TASKS
from preceptor.training.checkpoint import load_state
from preceptor.training.logging import TensorBoardLogger
from preceptor.training.loop import Parts, Training
from preceptor.training.module import DistillationModel, assemble
from preceptor.training.progress import Display
from preceptor.utils.locks import locked

_PATIENCE = 60  # seconds for a process whose parent was killed to end


def fit(fabric: Fabric, run: Run | Path, cache: Path | None, quiet: bool) -> dict[str, AnyNetwork] | None:
    """Train a run from its last checkpoint to the end of its epochs; rank 0 writes.

    Args:
        run: what was read of it already is not read again; several processes are given its folder.
        cache: where decoded images lie (see :func:`preceptor.data.cache.open_pixels`).

    Returns:
        The networks as the last epoch left them; None where there are several processes.
    """
    run = run if isinstance(run, Run) else Run(run)
    with _alone(run) if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            run.remove_halves()
        fabric.barrier()  # nobody reads the checkpoint before the run is ours
        networks = _fit(fabric, run, cache, quiet)
    return networks if fabric.world_size == 1 else None


def _fit(fabric: Fabric, run: Run, cache: Path | None, quiet: bool) -> dict[str, AnyNetwork]:
    recipe, catalog = run.recipe, run.catalog()
    monitored = "test" if recipe.protocol == "paper" else "validation"
    loaders = load_parts(run, recipe, catalog, cache, fabric.device, ("train", monitored))
    parts = Parts(loaders["train"], loaders[monitored], monitored, TASKS[recipe.task].classes(catalog))
    model = build_model(run, recipe, catalog, torch.from_numpy(loaders["train"].labels))
    logger = TensorBoardLogger(run.path / "tensorboard") if fabric.is_global_zero else None
    display = Display(recipe.name, quiet or not fabric.is_global_zero)
    modes = settle_modes(fabric, run, model, loaders["train"], display.say)
    training = Training(fabric, recipe, model, parts, run.checkpoints, logger, modes)
    if logger is not None and training.progress.history:  # a kill after the checkpoint may have cost them a row
        run.write_history(training.progress.history)
        logger.restore(training.progress.history)
    try:
        with display:
            training.fit(display, on_epoch=lambda progress: run.write_history(progress.history))
    finally:
        if logger is not None:
            logger.close()
    return {name: model.networks[name] for name in recipe.networks}  # type: ignore[misc]


def _alone(run: Run) -> AbstractContextManager[None]:
    """Nobody else trains this run. The lock is the writing process's own: it may outlive, for a moment, whatever has
    started it and the locks of that one."""
    busy = f"{run.path}: another process is training it"
    return locked(run.lock, busy, "wait for it, or end that process", patience=_PATIENCE)


def build_model(run: Run, recipe: Recipe, catalog: Catalog, row_labels: torch.Tensor) -> DistillationModel:
    """Networks and objectives of a run as they stood before its first epoch."""
    return assemble(recipe, _networks(run, recipe, catalog), row_labels, len(catalog.classes))


def best_networks(
    run: Run,
    recipe: Recipe,
    catalog: Catalog,
    networks: dict[str, AnyNetwork] | None = None,
    names: Collection[str] | None = None,
) -> dict[str, AnyNetwork]:
    """Networks of a run as its selected epoch, or each one's own, left them (under ``protocol: paper`` the last).

    Args:
        networks: of the run, whatever their weights; built unless given.
        names: which of them to return; all by default. Own checkpoints of others are not read.
    """
    names = recipe.networks if names is None else names
    model = DistillationModel(recipe, networks or _networks(run, recipe, catalog), [])
    state = load_state(shared_checkpoint(run, recipe))["model"]
    learned = {key: value for key, value in state.items() if key.startswith(("networks.", "temperatures."))}
    model.load_state_dict(learned)
    for name in names:
        if own := own_checkpoint(run, recipe, name):
            model.networks[name].load_state_dict(load_state(own)["model"])
    return {name: model.networks[name] for name in names}  # type: ignore[misc]


def load_parts(
    run: Run,
    recipe: Recipe,
    catalog: Catalog,
    cache: Path | None,
    device: torch.device,
    names: Sequence[str] | None = None,
) -> dict[str, Loader]:
    """A loader for each part of the run's split, or for those named."""
    pixels = open_pixels(catalog, recipe.image_size, masks=TASKS[recipe.task].needs_masks, directory=cache)
    check_images(run, pixels)
    part = parts_of(run.split, catalog.table["id"])
    names = names or (("train", "test") if recipe.protocol == "paper" else ("train", "validation", "test"))
    targets = TASKS[recipe.task].targets(catalog)
    rows = {name: part == name for name in names} | {"train": training_rows(part, recipe.unlabelled)}
    return {name: Loader(pixels, targets, rows[name].nonzero()[0], device) for name in names}


def _networks(run: Run, recipe: Recipe, catalog: Catalog) -> dict[str, AnyNetwork]:
    wanted = run.settled_networks()
    refuse_changed_sources({name: network for name, network in wanted.items() if network.frozen})
    if run.finished or run.checkpoint.is_file():  # which has the weights; the file they started from may be gone by now
        wanted = {
            name: network if network.frozen else _bare(network, recipe.networks[name])
            for name, network in wanted.items()
        }
    networks, _ = build_networks(
        wanted, TASKS[recipe.task].classes(catalog), recipe.image_size, recipe.seed, TASKS[recipe.task].network
    )
    return networks


def _bare(network: NetworkConfig, original: NetworkConfig) -> NetworkConfig:
    if network.backbone is None:
        return network
    return NetworkConfig.model_validate({**original.model_dump(), "pretrained": "none"})
