"""The run directory: the unit that everything else reads. Every file in it is written whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.split import read_split, split_hash
from preceptor.recipe import NetworkConfig, Recipe
from preceptor.recipes.resolve import to_yaml
from preceptor.runs.data import Data
from preceptor.runs.dependencies import PlannedRun, from_runs, plan_run
from preceptor.runs.occupied import FIRST, kind_of
from preceptor.runs.old_formats import recipe_from_yaml
from preceptor.runs.resolve_paths import moved_along
from preceptor.runs.schema import Environment, Metrics, Record, read_record
from preceptor.runs.tables import metrics_table, read_history, read_predictions
from preceptor.training.checkpoint import CheckpointStore
from preceptor.utils.errors import PreceptorError, some_of
from preceptor.utils.files import remove_halves, sha256_of, write_text

#: Endings of the files that training and evaluation write.
_WRITTEN = (".csv", ".json", ".npz", ".pt", ".safetensors", ".yaml")


#: What continues a folder that holds something else than a run.
_CONTINUED = {"study": "preceptor study PLAN", "search": "preceptor tune RECIPE"}


@dataclass(frozen=True)
class Run:
    """A run directory. Whatever is read from it is read once, when it is first asked for.

    Attributes:
        path: the run's folder.

    >>> Run("runs/ham10000/kd-fold0-seed0").finished
    False
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    def __fspath__(self) -> str:
        """The run's folder, so that a run may be given wherever its folder may."""
        return str(self.path)

    @property
    def exists(self) -> bool:
        """Whether the run was prepared: ``environment.json`` is written last."""
        return (self.path / "environment.json").is_file()

    @property
    def finished(self) -> bool:
        """Whether the test part was read and the metrics written."""
        return (self.path / "metrics.json").is_file()

    @cached_property
    def recipe_text(self) -> str:
        """``recipe.yaml`` as it stands."""
        path = self._require("recipe.yaml")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise PreceptorError(f"{path} is not UTF-8 text: {error}") from None

    @property
    def recipe_hash(self) -> str:
        """SHA-256 of ``recipe.yaml`` as it stands."""
        return hashlib.sha256(self.recipe_text.encode()).hexdigest()

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that the run was started with.

        Raises:
            PreceptorError: it is no recipe, or was edited since.
        """
        path = self.path / "recipe.yaml"
        recipe = recipe_from_yaml(self.recipe_text, str(path))
        recorded = self.environment.recipe_hash if self.exists else ""  # format 1 has none
        if recorded not in ("", self.recipe_hash):
            raise PreceptorError(
                f"{path}: the recipe was changed since the run was started",
                expected=f"recipe {recorded[:12]}…",
                remedy=f"put the file back as it was, or train a new run (preceptor train {path} …)",
            )
        return recipe

    @cached_property
    def environment(self) -> Environment:
        remedy = f"restore it from a copy, or remove {self.path} and train the run again"
        return read_record(self._require("environment.json"), Environment, remedy)

    @cached_property
    def metrics(self) -> Metrics:
        path = self.path / "metrics.json"
        remedy = f"remove {path}: preceptor resume {self.path} then measures the run again, from its checkpoint"
        return read_record(self._require("metrics.json"), Metrics, remedy)

    @cached_property
    def split(self) -> pd.DataFrame:
        """Columns ``id``, ``group``, ``part`` and ``label``; all text."""
        return read_split(self._require("split.csv"))

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per epoch."""
        return read_history(self._require("history.csv"))

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per image, part and network (:func:`preceptor.runs.tables.read_predictions`)."""
        return read_predictions(self._require("predictions.csv"), self.metrics)

    def require_finished(self) -> None:
        """Raise :class:`PreceptorError` unless this is the folder of a finished run."""
        if not self.path.is_dir():
            raise PreceptorError(f"{self.path}: there is no such run", expected="the folder of a finished run")
        if not (self.path / "recipe.yaml").is_file():
            raise PreceptorError(
                f"{self.path}: is not a run: it holds no recipe.yaml", expected="a folder that preceptor train wrote"
            )
        if not self.finished:
            raise PreceptorError(
                f"{self.path}: is not finished: it holds no metrics.json yet",
                expected="a finished run",
                remedy=f"finish it: preceptor resume {self.path}",
            )

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
        """Held by the process that writes checkpoints."""
        return self.path / "checkpoints" / ".lock"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def network_file(self, name: str) -> Path:
        return self.path / f"{name}.safetensors"

    def stage(self, name: str) -> Run:
        """The run that trained network ``name`` before this one started."""
        return Run(self.path / name)

    @cached_property
    def planned(self) -> PlannedRun:
        """The run with those that must be finished before it."""
        environment = self.environment
        data = environment.data
        return plan_run(self.recipe, data.fold, data.fingerprint, environment.processes)

    def settled_networks(self) -> dict[str, NetworkConfig]:
        """Return the recipe's networks, those that were trained first now taken from their runs.

        A network of another run that was moved together with this one is found where it lies now.
        """
        recipe = self.recipe
        first = {name: self.stage(name).path for name, network in recipe.networks.items() if network.trained_by}
        return {name: self._found_again(name, network) for name, network in from_runs(recipe, first).items()}

    def _found_again(self, name: str, network: NetworkConfig) -> NetworkConfig:
        if network.run is None or Path(network.run).exists():
            return network
        recorded = Path(network.run)
        for file in moved_along(recorded, self.path):
            known = self.environment.source_hashes.get(name) or _hash_of_shared(file)
            if known == sha256_of(file):
                return network.model_copy(update={"run": str(file)})
        return network

    @cached_property
    def data(self) -> Data:
        return Data.of(self.environment.data)

    def catalog(self) -> Catalog:
        """Return the data as the run found them.

        Raises:
            PreceptorError: the data are gone, or are no longer what they were when the run started.
        """
        return self._catalog

    @cached_property
    def _catalog(self) -> Catalog:
        record, root = self.environment.data, self.data.root
        if root is not None and not root.exists():
            raise PreceptorError(
                f"{root}: does not exist, but the data of {self.path} were there",
                remedy=f"put them back, or name their new place: preceptor resume {self.path} --root FOLDER",
            )
        catalog = self.data.catalog()
        if self.data.fingerprint != record.fingerprint:
            ids = set(catalog.table["id"]).symmetric_difference(self.split["id"])
            raise PreceptorError(
                f"{self.data.root or record.name}: the data changed since {self.path} was started"
                + (f" (ids that differ: {some_of(sorted(ids), 5)})" if ids else " (labels, groups or files differ)"),
                expected=f"fingerprint {record.fingerprint[:12]}…",
                remedy="restore the data, or start a new run",
            )
        return catalog

    def with_root(self, root: Path) -> Run:
        """Return the run with its data in another folder; :meth:`catalog` raises unless they are what they were."""
        run = Run(self.path)
        record = self.environment.data.model_copy(update={"root": str(root.expanduser().resolve())})
        run.remember(data=Data.of(record))
        return run

    def move_data(self, root: Path) -> None:
        """Write down that the data lie in another folder now, for this run and those that it had trained first.

        Raises:
            PreceptorError: these are not the data that the run was started on; nothing is written then.
        """
        self.with_root(root).catalog()
        stages = [self.stage(name) for name in self.planned.dependencies]
        for run in (self, *(stage for stage in stages if stage.exists)):
            run.write_root(root)

    def write_root(self, root: Path) -> None:
        """Write down where the data lie, which were checked against :attr:`DataRecord.fingerprint` already."""
        record = self.environment.data.model_copy(update={"root": str(root.expanduser().resolve())})
        self.write_environment(self.environment.model_copy(update={"data": record}))

    def write_start(self, recipe: Recipe, environment: Environment, split: pd.DataFrame) -> None:
        """Write what a run is before its first epoch. ``environment.json`` comes last: with it the run exists.

        Args:
            environment: its hashes of recipe and split are filled in here.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        text = to_yaml(recipe)
        write_text(self.path / "recipe.yaml", text)
        write_text(self.path / "split.csv", split.to_csv(index=False))
        self.remember(recipe_text=text, recipe=recipe, split=split)
        hashes = {"split_hash": split_hash(split), "recipe_hash": self.recipe_hash}
        self.write_environment(environment.model_copy(update=hashes))

    def write_environment(self, environment: Environment) -> None:
        self._write("environment.json", environment)
        self.remember(environment=environment)

    def write_metrics(self, metrics: Metrics) -> None:
        """Write ``metrics.json``, with which the run is finished."""
        self._write("metrics.json", metrics)
        self.remember(metrics=metrics)

    def remember(self, **values: Any) -> None:
        """Set attributes that are known already, so that they are not read again."""
        vars(self).update(values)

    def write_history(self, history: Sequence[Mapping[str, float]]) -> None:
        columns = list(dict.fromkeys(key for row in history for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        write_text(self.path / "history.csv", text.getvalue())
        vars(self).pop("history", None)

    def remove_halves(self) -> None:
        """Remove what a process that was killed while it wrote has left; only for the process that trains the run."""
        for folder in (self.path, self.checkpoints.directory):
            for ending in _WRITTEN:
                remove_halves(folder / f"*{ending}")

    def _write(self, name: str, record: Record) -> None:
        text = json.dumps(record.plain(), indent=2, ensure_ascii=False, allow_nan=False)
        write_text(self.path / name, text + "\n")

    def _require(self, name: str) -> Path:
        path = self.path / name
        if not self.path.is_dir():
            raise PreceptorError(f"{self.path}: there is no such run", expected="a folder that preceptor train wrote")
        start = name in FIRST  # which every run has that can be resumed
        if start and (held := kind_of(self.path)) in _CONTINUED:
            raise PreceptorError(
                f"{self.path}: holds a {held}, not a run",
                expected="a folder that preceptor train wrote",
                remedy=f"{_CONTINUED[held]} --out {self.path} continues it; or name one of its runs",
            )
        if not path.is_file():
            begun = any((self.path / first).is_file() for first in FIRST)
            raise PreceptorError(
                f"{path} is missing",
                expected="a folder that preceptor train wrote",
                remedy=f"copy the file back{f', or remove {self.path} and train the run again' if begun else ''}"
                if start
                else f"preceptor resume {self.path} finishes the run, or writes the file again",
            )
        return path

    def table(self) -> pd.DataFrame:
        """Return the test metrics of a finished run: one row per network or ensemble, one column per metric."""
        return metrics_table(self.metrics)

    def __repr__(self) -> str:
        head = f"Run({str(self.path)!r})"
        if not self.finished:
            return f"{head}: {'unfinished' if self.exists else 'not a run yet'}"
        return f"{head}: test part\n{self.table().T.to_string(float_format='{:.3f}'.format)}"

    def _repr_html_(self) -> str:
        heading = f"<p><code>{html.escape(str(self.path))}</code></p>"
        if not self.finished:
            return heading
        return heading + self.table().T.to_html(float_format="{:.3f}".format)


def _hash_of_shared(file: Path) -> str | None:
    """The checksum of a network's file as its own run knows it, of a study's ``shared/NAME/`` alone.

    For cells that were begun before runs recorded the files that they take. ``NAME`` ends with the run's identity, so
    that a folder of the same name holds the same run; of runs elsewhere names prove nothing.
    """
    source = Run(file.parent)
    if file.parts[-3] != "shared" or not source.finished or file.stem not in source.metrics.networks:
        return None
    return source.metrics.networks[file.stem].sha256
