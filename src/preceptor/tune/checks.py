"""What a search may not try, and what is wrong with its trials before any of them is trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from preceptor.data.catalog import Catalog
from preceptor.networks.build import build_networks
from preceptor.recipe import Recipe
from preceptor.runs.create import split_of
from preceptor.runs.data import Data
from preceptor.runs.dependencies import plan_run
from preceptor.runs.leakage import refuse_leak
from preceptor.runs.resolve_paths import absolute
from preceptor.tasks import TASKS
from preceptor.training.checks import check_objectives
from preceptor.training.network_pass import check_modes
from preceptor.tune.space import Dimension
from preceptor.utils.errors import PreceptorError

_LUCK = "the best of several seeds is the luckiest, not a better setting"
_TEST_PART = "it decides which images are the test part, and a trial with another one would learn from them"
_JUDGE = "it is what trials are judged by, and figures of different kinds cannot be compared"
#: Sections of a recipe that all trials of a search have alike, and why.
_ALIKE = {"task": _JUDGE, "select": _JUDGE, "protocol": _TEST_PART, "split": _TEST_PART, "seed": _LUCK}
_REASONS = {**_ALIKE, "data": "all trials learn from the same images"}


def refuse_keys(space: Sequence[Dimension]) -> None:
    """Raise for a searched key that decides what is tested, or how a trial is judged."""
    for dimension in space:
        key = dimension.key
        section, _, _ = key.partition(".")
        _, _, leaf = key.rpartition(".")
        reason = _REASONS.get(section) or (_LUCK if leaf == "seed" else None)  # a network's, that is trained first
        if reason is not None:
            raise PreceptorError(f"{key}: cannot be searched: {reason}", remedy=f"set it once: {key}=VALUE")


def refuse_unjudged(base: Recipe) -> None:
    """Raise for a recipe without a validation part, or without a metric on it to judge trials by."""
    if base.protocol == "paper":
        raise PreceptorError(
            "protocol: paper has no validation part, and a search must not read the test part",
            remedy="protocol=grouped",
        )
    if base.select.metric == "last":
        raise PreceptorError(
            "select.metric: last judges no epoch, and so no trial", remedy="set select.metric, as balanced_accuracy"
        )


def check_trial(assignment: str, recipe: Recipe, base: Recipe) -> None:
    """Raise if a trial's recipe cannot be trained, or compared with the others.

    Args:
        assignment: the key and the value that are tried, as ``key=value``.
        base: the recipe of the search as it is.

    Raises:
        PreceptorError: wrong objectives, or a mode that this machine does not have; or the value, by a recipe's
            argument, or a network that is trained first has another test part or another judge.
    """
    for section, reason in _ALIKE.items():
        if getattr(recipe, section) != getattr(base, section):
            raise PreceptorError(f"{assignment}: cannot be searched: it changes {section}, and {reason}")
    for stage in with_stages(recipe):
        check_objectives(stage)
        check_modes(stage)
        if (stage.protocol, stage.split) != (base.protocol, base.split):
            raise PreceptorError(
                f"trained_by: the recipe {stage.name!r} is given another split than the search, and would learn "
                "from images of the test part",
                remedy="leave split and protocol out of what trained_by sets",
            )


def check_data(base: Recipe, recipes: Iterable[Recipe], data: Data) -> None:
    """Make the split that all trials share, since a fault in it would fail every one of them.

    Args:
        base: the recipe of the search as it is.
        recipes: of trials.

    Raises:
        PreceptorError: a fold that there is not, too few images or groups of a class, wrong groups of classes, or a
            finished network that has learned from images of the fold's validation or test part.
    """
    catalog = data.catalog()
    given: dict[str, str] = {}
    for recipe in recipes:
        task = TASKS[recipe.task]
        task.check_class_groups(recipe, task.classes(catalog))
        given |= {network.run: name for name, network in absolute(recipe).networks.items() if network.run is not None}
    split = split_of(catalog, base, data.fold)
    for file, name in given.items():
        refuse_leak(f"networks.{name}.run", Path(file), data, split)


def check_networks(recipes: Iterable[Recipe], catalog: Catalog) -> None:
    """Build every network that trials start from once, also those that are trained first.

    Raises:
        PreceptorError: an unknown backbone, weights that cannot be had, a run of other classes, data without labels.
    """
    built = set()
    for recipe in chain.from_iterable(map(with_stages, recipes)):
        for name, network in absolute(recipe).networks.items():
            if network.mean_of is None and network.trained_by is None:
                key = (name, network, recipe.image_size, recipe.task)
                if key not in built:
                    classes = TASKS[recipe.task].classes(catalog)
                    build_networks({name: network}, classes, recipe.image_size, recipe.seed, TASKS[recipe.task].network)
                    built.add(key)


def with_stages(recipe: Recipe) -> list[Recipe]:
    """Return the recipe, and those that train its networks first."""
    return [planned.recipe for planned in reversed([*plan_run(recipe, 0, "", 1).in_order()])]
