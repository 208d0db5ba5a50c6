"""The modes in which a run's networks run: named by its recipe, or measured once and kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from math import isfinite

import numpy as np
from lightning_fabric import Fabric

from preceptor.data.batches import Loader
from preceptor.recipe import ForwardMode, Recipe
from preceptor.runs.directory import Run
from preceptor.runs.schema import ModeRecord
from preceptor.training import mode_choice
from preceptor.training.augment import make_views
from preceptor.training.mode_choice import ModeChoice
from preceptor.training.module import DistillationModel
from preceptor.utils.errors import PreceptorWarning

#: What runs wrote before there were modes: Fabric's name for the precision of all networks.
_OF_FABRIC = {"32-true": "float32", "bf16-mixed": "bf16"}


def precision_in_words(recipe: Recipe) -> str:
    """Return what ``environment.json`` says of a recipe's precision."""
    if isinstance(recipe.precision, str):
        return recipe.precision
    return ", ".join(f"{name} {recipe.mode(name)}" for name in recipe.networks)


def settle_modes(
    fabric: Fabric, run: Run, model: DistillationModel, train: Loader, say: Callable[[str], object]
) -> dict[str, ForwardMode]:
    """Return the mode of each network; under ``precision: auto`` they are measured and written down the first time.

    Rank 0 measures, writes and says what it has chosen.

    Args:
        model: networks and objectives; they stay as they are.
        train: loader of the training part.
        say: shows a line to the user.
    """
    recipe, environment = run.recipe, run.environment
    if recipe.precision != "auto":
        return {name: recipe.mode(name) for name in recipe.networks}
    if environment.modes:
        return _of_this_machine(
            fabric, {name: ForwardMode.parse(each.mode) for name, each in environment.modes.items()}
        )
    if environment.precision in _OF_FABRIC:
        return dict.fromkeys(recipe.networks, ForwardMode(_OF_FABRIC[environment.precision]))
    modes: dict[str, str] = {}
    if fabric.is_global_zero:
        choices = _measure(fabric, recipe, model, train)
        records = {name: _record(choice) for name, choice in choices.items()}
        run.write_environment(environment.model_copy(update={"modes": records}))
        modes = {name: record.mode for name, record in records.items()}
        for name, choice in choices.items():
            say(f"{recipe.name}  {choice.in_words(name)}")  # as its epochs are
    return {name: ForwardMode.parse(mode) for name, mode in fabric.broadcast(modes).items()}


def _of_this_machine(fabric: Fabric, modes: dict[str, ForwardMode]) -> dict[str, ForwardMode]:
    """Modes that were measured, perhaps elsewhere: as they are, but without CUDA graphs where these cannot be."""
    graphed = [name for name, mode in modes.items() if mode.graphed]
    if not graphed or _can_graph(fabric):
        return modes
    warnings.warn(
        f"precision: {', '.join(graphed)} ran as CUDA graphs where the modes were measured, and cannot without a GPU "
        "or in several processes: kernels are launched one by one",
        PreceptorWarning,
        stacklevel=2,
    )
    return {name: replace(mode, graphed=False) for name, mode in modes.items()}


def _can_graph(fabric: Fabric) -> bool:
    return fabric.device.type == "cuda" and fabric.world_size == 1


def _measure(fabric: Fabric, recipe: Recipe, model: DistillationModel, train: Loader) -> dict[str, ModeChoice]:
    """Time every mode on this process's share of the recipe's first batch."""
    rows = np.arange(min(max(recipe.batch_size // fabric.world_size, 2), len(train)))
    (batch,) = train.batches([rows])
    views = make_views(recipe, recipe.networks, batch, len(rows), (recipe.seed, 0, 0)).images
    features = {name: model.feature_points(name) for name in recipe.networks}
    steps = recipe.epochs * max(len(train) // recipe.batch_size, 1)
    networks = {name: model.networks[name] for name in recipe.networks}
    graphs = _can_graph(fabric)
    return mode_choice.choose_modes(recipe, networks, views, features, steps, graphs=graphs)  # type: ignore[arg-type]


def _record(choice: ModeChoice) -> ModeRecord:
    return ModeRecord(
        mode=str(choice.mode),
        seconds={mode: round(value, 5) for mode, value in choice.seconds.items()},
        errors={mode: float(f"{error:.2g}") if isfinite(error) else None for mode, error in choice.errors.items()},
        refused=list(choice.refused),
        tolerance=choice.tolerance,
    )
