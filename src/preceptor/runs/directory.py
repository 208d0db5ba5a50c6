"""The run directory: the unit that everything else reads. Every file in it is written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.readers import read
from preceptor.data.split import read_split, split_hash
from preceptor.recipe import NetworkConfig, Recipe
from preceptor.recipes.resolve import resolve, to_yaml
from preceptor.training.checkpoint import CheckpointStore
from preceptor.utils.errors import PreceptorError, some_of
from preceptor.utils.files import remove_halves, write_text

#: Endings of the files that training and evaluation write.
_WRITTEN = (".csv", ".json", ".npz", ".pt", ".safetensors", ".yaml")


@dataclass(frozen=True)
class Run:
    """Where the parts of a run lie, and how they are read back.

    Attributes:
        path: the run's folder.
    """

    path: Path

    @property
    def checkpoints(self) -> CheckpointStore:
        return CheckpointStore(self.path / "checkpoints")

    @property
    def checkpoint(self) -> Path:
        """The state after the last finished epoch."""
        return self.checkpoints.last

    @property
    def best(self) -> Path:
        """The weights of the selected epoch."""
        return self.checkpoints.best

    @property
    def lock(self) -> Path:
        """Held by whoever trains the run."""
        return self.path / "checkpoints" / ".lock"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def finished(self) -> bool:
        """Whether the test part was read and the figures written."""
        return (self.path / "metrics.json").is_file()

    @property
    def recipe(self) -> Recipe:
        return resolve(str(self._need("recipe.yaml")))

    @property
    def environment(self) -> dict[str, Any]:
        return self._json("environment.json")

    @property
    def metrics(self) -> dict[str, Any]:
        return self._json("metrics.json")

    @property
    def split(self) -> pd.DataFrame:
        return read_split(self._need("split.csv"))

    def network_file(self, name: str) -> Path:
        return self.path / f"{name}.safetensors"

    def stage(self, name: str) -> Run:
        """The run that trained network ``name`` before this one started."""
        return Run(self.path / name)

    def settled_networks(self) -> dict[str, NetworkConfig]:
        """The recipe's networks, those that were trained first now pointing to their runs."""
        settled = {}
        for name, network in self.recipe.networks.items():
            if network.trained_by is not None:
                network = NetworkConfig(
                    run=str(self.stage(name).path), frozen=network.frozen, projection=network.projection
                )
            settled[name] = network
        return settled

    def catalog(self) -> Catalog:
        """The data as the run found them.

        Raises:
            PreceptorError: the data are gone, or are no longer what they were when the run started.
        """
        said = self.environment["data"]
        catalog = read(said["name"], Path(said["root"]) if said["root"] else None, said["options"])
        catalog = catalog.without(said["excluded"])
        if catalog.fingerprint() != said["fingerprint"]:
            ids = set(catalog.table["id"]).symmetric_difference(self.split["id"])
            raise PreceptorError(
                f"{said['root'] or said['name']}: the data changed since {self.path} was started"
                + (f" (ids that differ: {some_of(sorted(ids), 5)})" if ids else " (labels, groups or files differ)"),
                expected=f"fingerprint {said['fingerprint'][:12]}…",
                remedy="restore the data, or start a new run",
            )
        return catalog

    def write_start(self, recipe: Recipe, environment: dict[str, Any], split: pd.DataFrame) -> None:
        """What a run is, before its first epoch. ``environment.json`` comes last: with it the run exists."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / "recipe.yaml", to_yaml(recipe))
        write_text(self.path / "split.csv", split.to_csv(index=False))
        self.write_json("environment.json", {**environment, "split_hash": split_hash(split)})

    def write_history(self, history: Sequence[Mapping[str, float]]) -> None:
        columns = list(dict.fromkeys(key for row in history for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        write_text(self.path / "history.csv", text.getvalue())

    def remove_halves(self) -> None:
        """Remove what a process that was killed while it wrote has left; only for the process that trains the run."""
        for folder in (self.path, self.checkpoints.directory):
            for half in folder.glob(".*.tmp"):
                name = half.name.removeprefix(".").removesuffix(".tmp").rpartition(".")[0]
                if name.endswith(_WRITTEN):
                    remove_halves(folder / name)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        write_text(self.path / name, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def _json(self, name: str) -> dict[str, Any]:
        return json.loads(self._need(name).read_text())

    def _need(self, name: str) -> Path:
        path = self.path / name
        if not self.path.is_dir():
            raise PreceptorError(f"{self.path}: no such run", expected="a folder that preceptor train wrote")
        if not path.is_file():
            raise PreceptorError(
                f"{self.path}: has no {name}",
                expected="a folder that preceptor train wrote",
                remedy=f"if the run was stopped, finish it: preceptor resume {self.path}",
            )
        return path
