"""Whether objectives make sense together with the recipe that they stand in, before anything is read."""

from __future__ import annotations

from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model
from torch import nn

from preceptor.losses.registry import LOSSES, LossSpec
from preceptor.recipe import Objective, Recipe
from preceptor.utils.errors import PreceptorError, did_you_mean


def check_objectives(recipe: Recipe) -> None:
    """Whether every objective names a loss that exists, with settings that it knows, before anything is read.

    Raises:
        PreceptorError: names the key ``objectives.NAME.…``.
    """
    taken = nn.ModuleDict()
    for section, names in (("networks", recipe.networks), ("objectives", [one.name for one in recipe.objectives])):
        for name in names:
            if hasattr(taken, name):
                raise PreceptorError(f"{section}: the name {name!r} is taken", remedy="choose another")
    for objective in recipe.objectives:
        spec = spec_of(objective)
        settings_of(objective, spec)
        _check_sides(objective, spec, recipe)


def spec_of(objective: Objective) -> LossSpec:
    """The loss that an objective names. Raises :class:`PreceptorError`, which names the objective."""
    try:
        return LOSSES[objective.loss]
    except PreceptorError as error:
        raise placed(error, objective) from None


def settings_of(objective: Objective, spec: LossSpec) -> dict[str, Any]:
    """The objective's own keys, checked against the types of the loss's arguments."""
    hints = get_type_hints(spec.module.__init__)
    known = spec.settings()
    for key in objective.settings:
        if key not in known:
            raise PreceptorError(
                f"unknown key 'objectives.{objective.name}.{key}': the loss {spec.name} has no such setting."
                f"{did_you_mean(key, known)}",
                expected="one of " + ", ".join([*known, "weight", "name"]),
            )
    fields: dict[str, Any] = {
        name: (hints.get(name, Any), ... if argument.default is argument.empty else argument.default)
        for name, argument in known.items()
    }
    schema = create_model(spec.name, __config__=ConfigDict(strict=True, arbitrary_types_allowed=True), **fields)
    try:
        checked = schema.model_validate(objective.settings)
    except ValidationError as error:
        fault = max(error.errors(), key=lambda one: len(one["loc"]))  # of a union, the branch that got furthest
        key = f"objectives.{objective.name}.{fault['loc'][0]}"
        if fault["type"] == "missing":
            raise PreceptorError(f"{key!r} is missing", expected=f"a setting of the loss {spec.name}") from None
        raise PreceptorError(
            f"{key!r} is {fault['input']!r}", expected=fault["msg"].removeprefix("Input should be ")
        ) from None
    return {name: getattr(checked, name) for name in fields}


def placed(error: PreceptorError, objective: Objective) -> PreceptorError:
    """What a loss says is wrong, with the objective's place in the recipe."""
    return PreceptorError(f"objectives.{objective.name}: {error.what}", expected=error.expected, remedy=error.remedy)


def _check_sides(objective: Objective, spec: LossSpec, recipe: Recipe) -> None:
    place = f"objectives.{objective.name}"
    if spec.needs_source and objective.source is None:
        raise PreceptorError(f"{place}: the loss {spec.name} learns from a network", expected="from: NAME and to: NAME")
    if not spec.needs_source and objective.source is not None:
        raise PreceptorError(
            f"{place}: the loss {spec.name} looks at one network", expected="of: NAME instead of from and to"
        )
    learner = recipe.networks[objective.learner]
    if learner.mean_of and "to.projection" not in {spec.feeds[argument] for argument in spec.trains}:
        raise PreceptorError(
            f"{place}: {objective.learner!r} is the mean of {learner.mean_of!r}: {spec.name} cannot teach it",
            remedy=f"set objectives.{objective.name}.{'to' if objective.to else 'of'}={learner.mean_of}",
        )
    _check_task(objective, spec, recipe)
    _check_views(objective, spec, recipe)
    for feed in (*spec.feeds.values(), *spec.facts.values()):
        side, _, what = feed.partition(".")
        name = objective.learner if side == "to" else objective.source
        if what in ("projection", "bank") and name is not None:
            network = recipe.networks[name]
            has = recipe.networks[network.mean_of].projection if network.mean_of else network.projection
            if has is None:
                raise PreceptorError(
                    f"{place}: the loss {spec.name} needs a projection head on {name}",
                    remedy=f"set networks.{network.mean_of or name}.projection, for instance to 128",
                )


def _check_task(objective: Objective, spec: LossSpec, recipe: Recipe) -> None:
    place, wants = f"objectives.{objective.name}", {*spec.feeds.values(), *spec.facts.values()}
    of_masks = "masks" in wants
    of_classes = bool(wants & {"labels", "rows", "class_counts", "row_labels"}) or any(
        one.endswith(".bank") for one in wants
    )
    if of_masks and recipe.task == "classification":
        raise PreceptorError(
            f"{place}: the loss {spec.name} needs masks", expected="a loss for classification, or --task segmentation"
        )
    if of_classes and recipe.task == "segmentation":
        raise PreceptorError(
            f"{place}: the loss {spec.name} needs one class an image, which masks do not give",
            expected="a recipe that has a form for masks, such as kd, fitnet, mean_teacher or kd_ml_v3; "
            "preceptor recipes says which",
        )
    if any(one.endswith(".bank") for one in wants) and recipe.resample in ("over", "balanced"):
        raise PreceptorError(
            f"{place}: the loss {spec.name} has a memory bank, and resample={recipe.resample} shows images twice",
            expected="resample=none or under",
        )


def _check_views(objective: Objective, spec: LossSpec, recipe: Recipe) -> None:
    place = f"objectives.{objective.name}"
    by_place = spec.compares_places or recipe.task == "segmentation"  # a mask is said place by place
    if by_place and objective.source and recipe.draw(objective.source) != recipe.draw(objective.learner):
        raise PreceptorError(
            f"{place}: {objective.source} and {objective.learner} see an image in different places, and are compared "
            "place by place",
            remedy=f"set views.{objective.source}.same_as={objective.learner}, or the reverse",
        )
    several = bool(recipe.transforms(objective.learner))
    if spec.tells_views_apart:
        if not several:
            raise PreceptorError(
                f"{place}: the loss {spec.name} compares views of an image, and {objective.learner} sees one",
                remedy=f"set views.{objective.learner}.extra_transforms, for instance to [rot90, rot180, rot270]",
            )
        if objective.images == "upright":
            raise PreceptorError(f"{place}.images: the loss {spec.name} compares views of an image", expected="all")
        if objective.source and recipe.transforms(objective.source) != recipe.transforms(objective.learner):
            raise PreceptorError(
                f"{place}: {objective.source} and {objective.learner} do not see the same views",
                remedy=f"set views.{objective.source}.same_as={objective.learner}",
            )
    elif objective.images == "all":
        if not several:
            raise PreceptorError(
                f"{place}.images: {objective.learner} sees one view of an image",
                remedy=f"set views.{objective.learner}.extra_transforms, or leave images out",
            )
        if any(feed == "rows" or feed.endswith(".bank") for feed in spec.feeds.values()):
            raise PreceptorError(
                f"{place}.images: the loss {spec.name} uses memory banks, which hold one row an image",
                expected="upright",
            )
