"""What must be trained before a run can start, as one graph, and the hash by which equal runs are known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from preceptor.data.folds import is_one_fold
from preceptor.networks.find_network import find_network
from preceptor.recipe import NetworkConfig, Recipe
from preceptor.recipes.resolve import resolve
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import sha256_of

#: How a run uses a network that another has trained.
_AS_USED = ("frozen", "projection", "calibrated")
_HANDED_ON = ("image_size", "batch_size", "epochs", "seed", "protocol", "resample")
_WITHOUT_EFFECT = ("name", "paper", "teacher_cache", "class_groups")  # on what is trained
#: What identities call a precision. Under the old names the runs of earlier studies keep theirs.
_PRECISIONS = {"float32": "auto", "auto": "measured"}
#: What identities call a linear ramp since its first epoch has a share of the weight and not 0: no run of before passes
#: for one of today.
_LINEAR = "linear, from 1"


@dataclass(frozen=True)
class PlannedRun:
    """One run and the runs that train networks of it first.

    Attributes:
        recipe: what it trains; the networks that others train still name them under ``trained_by``.
        fold: which fold is its test part.
        fingerprint: of the data (:meth:`preceptor.data.catalog.Catalog.fingerprint`).
        processes: that share each batch.
        dependencies: network → the run that trains it first.
    """

    recipe: Recipe
    fold: int
    fingerprint: str
    processes: int
    dependencies: Mapping[str, PlannedRun] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        return self.recipe.seed

    @cached_property
    def identity(self) -> str:
        """SHA-256 of all that decides on the result, the same wherever files lie and whatever things are called.

        The recipe counts without its name, paper and class groups, with the identities of its dependencies in their
        place and files by their content; beside it the data, the fold and the number of processes.

        Raises:
            PreceptorError: a file that the recipe names is not there.
        """
        content = {
            "recipe": self._determinants(),
            "data": self.fingerprint,
            "fold": self.fold,
            "processes": self.processes,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def in_order(self) -> Iterator[PlannedRun]:
        """All runs that this one needs, deepest first, and then itself."""
        for dependency in self.dependencies.values():
            yield from dependency.in_order()
        yield self

    def with_runs(self, paths: Mapping[str, Path]) -> Recipe:
        """The recipe with the networks of its dependencies taken from their finished runs.

        Args:
            paths: identity → folder.
        """
        places = {name: paths[dependency.identity] for name, dependency in self.dependencies.items()}
        return self.recipe.model_copy(update={"networks": from_runs(self.recipe, places)})

    def _determinants(self) -> dict[str, Any]:
        content = {key: value for key, value in self.recipe.plain().items() if key not in _WITHOUT_EFFECT}
        if isinstance(precision := content["precision"], str):
            content["precision"] = _PRECISIONS.get(precision, precision)
        if not is_one_fold(self.recipe.split.validation):
            content["validation"] = "several folds"  # runs of before took the nearest single one
        content["objectives"] = [_with_ramp_named(term) for term in content["objectives"]]
        networks = {}
        for name, network in self.recipe.networks.items():
            plain: dict[str, Any] = dict(content["networks"][name])
            if name in self.dependencies:
                identity = self.dependencies[name].identity
                plain = {"part": identity, "frozen": network.frozen, "projection": network.projection}
                plain |= {"calibrated": True} if network.calibrated else {}
            elif network.run is not None:
                file = find_network(Path(network.run).expanduser(), name, f"networks.{name}.run")
                plain["run"] = _hash_of(file.resolve())
            elif network.pretrained not in ("none", "imagenet"):
                file = Path(network.pretrained).expanduser()
                if not file.is_file():
                    raise PreceptorError(f"networks.{name}.pretrained: there is no file {file}")
                plain["pretrained"] = _hash_of(file.resolve())
            networks[name] = plain
        return content | {"networks": networks}


def _with_ramp_named(objective: dict[str, Any]) -> dict[str, Any]:
    weight = objective.get("weight")
    if not isinstance(weight, dict) or weight.get("ramp") != "linear":
        return objective
    return objective | {"weight": weight | {"ramp": _LINEAR}}


def from_runs(recipe: Recipe, paths: Mapping[str, Path]) -> dict[str, NetworkConfig]:
    """The networks of a recipe, those with a path taken from the finished run there.

    Args:
        paths: network → folder of the run that trained it.
    """
    return {
        name: NetworkConfig(run=str(paths[name]), **{key: getattr(network, key) for key in _AS_USED})
        if name in paths
        else network
        for name, network in recipe.networks.items()
    }


def plan_run(
    recipe: Recipe,
    fold: int,
    fingerprint: str,
    processes: int,
    stage: Callable[[Recipe, str], Recipe] | None = None,
) -> PlannedRun:
    """Resolve the recipes of all runs that a recipe needs, each once.

    Args:
        stage: gives the recipe that trains a network first; :func:`stage_recipe` unless given.

    Raises:
        PreceptorError: a recipe named under ``trained_by`` does not train a network of this kind.
    """
    dependencies = {
        name: plan_run((stage or stage_recipe)(recipe, name), fold, fingerprint, processes, stage)
        for name, network in recipe.networks.items()
        if network.trained_by is not None
    }
    return PlannedRun(recipe, fold, fingerprint, processes, dependencies)


def stage_recipe(recipe: Recipe, name: str) -> Recipe:
    """The recipe that trains network ``name`` of ``recipe`` first: same data, budget and seed, its own settings on top.

    Raises:
        PreceptorError: the recipe named under ``trained_by`` does not train a network of this kind.
    """
    network = recipe.networks[name]
    assert network.trained_by is not None
    base = resolve(network.trained_by.recipe)
    learning = [key for key, config in base.networks.items() if config.learns]
    left = [key for key, config in base.networks.items() if config.has_own_file]
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
        **({"precision": recipe.precision} if isinstance(recipe.precision, str) else {}),  # modes are of its networks
        **{f"split.{key}": value for key, value in recipe.split.model_dump().items()},
    }
    if recipe.task != base.task:
        handed_on["task"] = recipe.task
    settings = network.trained_by.set
    finished = {"run", "teacher", f"networks.{trained}.run"} & settings.keys()  # it is what it is
    if not finished or (finished == {"teacher"} and trained != "teacher"):
        # a recipe's argument of that name says the same, and has the last word
        shapes = ("backbone", "pretrained", "dropout", "bottleneck", "map_channels")
        shape = [key for key in shapes if key not in settings]
        handed_on |= {f"networks.{trained}.{key}": getattr(network, key) for key in shape}
    if not finished:
        for nested, config in base.networks.items():  # a stage of the stage has this run's budget, not that stage's
            if config.trained_by is not None:
                handed_on[f"networks.{nested}.trained_by.set.epochs"] = recipe.epochs
    return resolve(network.trained_by.recipe, {**handed_on, **settings})


def _hash_of(file: Path) -> str:
    status = file.stat()
    return _hash_of_version(file, status.st_size, status.st_mtime_ns)


@cache
def _hash_of_version(file: Path, size: int, changed: int) -> str:
    """SHA-256 of a file's content, computed once while size and time of change stay the same."""
    return sha256_of(file)
