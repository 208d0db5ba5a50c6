"""Whether the weights that a run wrote are still those that it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from preceptor.recipe import NetworkConfig
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import sha256_of


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
        PreceptorError: see :func:`refuse_changed_weights`.
    """
    for network in networks.values():
        if network.run is not None:
            file = Path(network.run)
            refuse_changed_weights(Run(file.parent), file.stem)
