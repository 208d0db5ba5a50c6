"""Where the weights of a run's networks lie, and whether they are still those that it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from preceptor.networks.find_network import find_network
from preceptor.recipe import NetworkConfig, Recipe
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import sha256_of


def own_networks(run: Run) -> list[str]:
    """Names of the networks that have a file in a finished run: frozen ones have it in the run that trained them."""
    return [name for name, network in run.recipe.networks.items() if network.has_own_file]


def shared_checkpoint(run: Run, recipe: Recipe) -> Path:
    """The checkpoint that all networks of a run are read from: of the selected epoch, or under ``paper`` the last."""
    return run.best if recipe.protocol == "grouped" else run.checkpoint


def own_checkpoint(run: Run, recipe: Recipe, name: str) -> Path | None:
    """The checkpoint of a network whose epoch is its own, read after the shared one; None for any other."""
    has_own_epoch = recipe.select.epoch == "each" and recipe.networks[name].predicts_anew
    return run.checkpoints.best_of(name) if has_own_epoch else None


def checkpoints_of(run: Run, recipe: Recipe, name: str) -> list[Path]:
    """All checkpoints that the weights of a network are read from."""
    own = own_checkpoint(run, recipe, name)
    return [shared_checkpoint(run, recipe), *([own] if own else [])]


def refuse_missing_weights(run: Run, name: str) -> None:
    """Raise :class:`PreceptorError` if the file of a network that a finished run wrote is gone; names it."""
    file = run.network_file(name)
    if file.is_file():
        return
    checkpoints = checkpoints_of(run, run.recipe, name)
    sources = " and ".join(str(checkpoint.relative_to(run.path)) for checkpoint in checkpoints)
    again = f"preceptor resume {run.path} writes it again from {sources}"
    can_restore = all(checkpoint.is_file() for checkpoint in checkpoints)
    raise PreceptorError(
        f"{file} is missing",
        expected=f"the weights of {name}, which the run wrote",
        remedy=again if can_restore else f"copy it back, or remove {run.path} and train the run again",
    )


def refuse_changed_weights(run: Run, name: str) -> None:
    """Compare the file of a network with the checksum in its run's ``metrics.json``, where there is one.

    Raises:
        PreceptorError: the file is another one, or was damaged on the disk.
    """
    if not run.finished or name not in run.metrics.networks:
        return
    file, known = run.network_file(name), run.metrics.networks[name].sha256
    if known not in (None, sha256_of(file)):  # format 1 has none
        raise PreceptorError(
            f"{file}: the weights have changed since the run wrote them",
            expected=f"SHA-256 {known[:12]}…",
            remedy=f"restore the file, or remove {run.path / 'metrics.json'}: preceptor resume {run.path} writes both",
        )


def refuse_changed_sources(networks: Mapping[str, NetworkConfig]) -> None:
    """Check those networks of a recipe that are taken from other runs; a file beside no run has no checksum.

    Raises:
        PreceptorError: see :func:`refuse_changed_weights`; or there is no such run or file.
    """
    for name, network in networks.items():
        if network.run is not None:
            file = find_network(Path(network.run), name, f"networks.{name}.run")
            refuse_changed_weights(Run(file.parent), file.stem)
