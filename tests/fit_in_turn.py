"""Trains several prepared runs in the processes of one launch, whose start takes longer than such a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_fabric import Fabric

from preceptor.runs.worker import fit


def fit_in_turn(fabric: Fabric, folders: Sequence[Path]) -> None:
    """Train each run to the end of its epochs, without the evaluation that follows."""
    for folder in folders:
        fit(fabric, folder, None, quiet=True)
