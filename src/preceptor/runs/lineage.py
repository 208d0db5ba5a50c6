"""What a finished network has learned from: labels alone, or other networks too."""

from __future__ import annotations

from pathlib import Path

from preceptor.networks.find_network import find_network
from preceptor.recipe import Recipe
from preceptor.runs.dependencies import stage_recipe
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError


def is_distilled(run: Run, network: str) -> bool | None:
    """Whether a network has learned from others, in its run or in one that it started from.

    Returns:
        None where it started from a run or a recipe that is gone, or from weights of which no run is known.
    """
    recipe = run.recipe
    start = recipe.networks[network]
    if recipe.teachers_of(network):
        return True
    try:
        if start.trained_by is not None:
            stage = run.stage(network)
            return _distils(stage.recipe if stage.exists else stage_recipe(recipe, network))
        return False if start.run is None else _source_is_distilled(run, network)
    except PreceptorError:
        return None


def _source_is_distilled(run: Run, network: str) -> bool | None:
    file = find_network(Path(str(run.settled_networks()[network].run)), network, f"networks.{network}.run")
    source = Run(file.parent)
    return is_distilled(source, file.stem) if source.exists and file.stem in source.recipe.networks else None


def _distils(recipe: Recipe) -> bool:
    """Whether any network of a recipe learns from another, or starts from one that did."""
    starts = (name for name, network in recipe.networks.items() if network.trained_by is not None and network.learns)
    return any(objective.sources for objective in recipe.objectives) or any(
        _distils(stage_recipe(recipe, name)) for name in starts
    )
