"""Checks of objectives against their losses and the rest of the recipe, before any data are read."""

from __future__ import annotations

from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model
from torch import nn

from preceptor.losses.registry import LOSSES, LossSpec
from preceptor.recipe import Objective, Recipe
from preceptor.tasks import TASKS
from preceptor.training.loss_schedules import weight_at
from preceptor.utils.errors import PreceptorError, UnknownKeyError, did_you_mean, prefix_errors, some_of


def check_objectives(recipe: Recipe) -> None:
    """Check that every objective names a loss that exists, with settings that it has, on networks that fit it.

    Each epoch needs an objective with a weight, and each network that learns needs one in some epoch.

    Raises:
        PreceptorError: names the key ``objectives.NAME.…``.
    """
    taken = nn.ModuleDict()
    for section, names in (
        ("networks", recipe.networks),
        ("objectives", [objective.name for objective in recipe.objectives]),
    ):
        for name in names:
            if hasattr(taken, name):
                raise PreceptorError(f"{section}: the name {name!r} is taken", remedy="choose another")
    if recipe.unlabelled and TASKS[recipe.task].needs_masks:
        raise PreceptorError("unlabelled: every image of a segmentation has a mask", remedy="set unlabelled=false")
    for name, network in recipe.networks.items():
        if network.calibrated and TASKS[recipe.task].needs_masks:
            raise PreceptorError(
                f"networks.{name}.calibrated: masks are not calibrated", expected="a task whose images have labels"
            )
    for objective in recipe.objectives:
        spec = spec_of(objective)
        settings_of(objective, spec)
        _check_sides(objective, spec, recipe)
    _check_weights(recipe)


def check_batch_size(recipe: Recipe, devices: int) -> None:
    """Raise if a batch is too small for the processes that share it: batch normalisation needs two images in each.

    Raises:
        PreceptorError: names ``batch_size`` and the option.
    """
    if recipe.batch_size < 2 * devices:
        raise PreceptorError(
            f"--devices {devices}: processes share each batch, and batch_size is {recipe.batch_size}",
            expected=f"batch_size={2 * devices} or more, two images for each process",
            remedy="set a larger batch_size, or choose fewer --devices",
        )


def spec_of(objective: Objective) -> LossSpec:
    """The loss that an objective names. Raises :class:`PreceptorError`, which names the objective."""
    with prefix_errors(f"objectives.{objective.name}"):
        return LOSSES[objective.loss]


def settings_of(objective: Objective, spec: LossSpec) -> dict[str, Any]:
    """The objective's own keys, checked against the types of the loss's arguments."""
    hints = get_type_hints(spec.module.__init__)
    known = spec.settings()
    keys = [*known, *(entry.alias or key for key, entry in Objective.model_fields.items())]
    for key in objective.settings:
        if key not in known:
            raise UnknownKeyError(
                f"unknown key 'objectives.{objective.name}.{key}': the loss {spec.name} has no such setting."
                f"{did_you_mean(key, keys)}",
                key=f"objectives.{objective.name}.{key}",
                known=keys,
                expected="one of " + ", ".join(keys),
            )
    fields: dict[str, Any] = {
        name: (hints.get(name, Any), ... if argument.default is argument.empty else argument.default)
        for name, argument in known.items()
    }
    schema = create_model(spec.name, __config__=ConfigDict(strict=True, arbitrary_types_allowed=True), **fields)
    try:
        checked = schema.model_validate(objective.settings)
    except ValidationError as error:
        fault = max(error.errors(), key=lambda entry: len(entry["loc"]))  # of a union, the branch that got furthest
        key = f"objectives.{objective.name}.{fault['loc'][0]}"
        if fault["type"] == "missing":
            raise PreceptorError(f"{key!r} is missing", expected=f"a setting of the loss {spec.name}") from None
        raise PreceptorError(
            f"{key!r} is {fault['input']!r}", expected=fault["msg"].removeprefix("Input should be ")
        ) from None
    return {name: getattr(checked, name) for name in fields}


def _check_weights(recipe: Recipe) -> None:
    """Raise if an epoch, or a network that learns, has no objective of a weight other than 0."""
    weights = [
        [weight_at(objective.weight, epoch) for epoch in range(recipe.epochs)] for objective in recipe.objectives
    ]
    idle = [epoch for epoch, of_epoch in enumerate(zip(*weights, strict=True), start=1) if not any(of_epoch)]
    if idle:
        when = "every epoch" if len(idle) == recipe.epochs else f"epoch {some_of(idle, 3)}"
        raise PreceptorError(
            f"objectives: all weights are 0 in {when}",
            expected="something to learn from in each epoch",
            remedy=f"set objectives.{recipe.objectives[0].name}.weight",
        )
    for name, network in recipe.networks.items():
        own = [(term.name, each) for term, each in zip(recipe.objectives, weights, strict=True) if term.learner == name]
        if network.learns and not any(any(each) for _, each in own):
            raise PreceptorError(
                f"objectives: nothing trains {name}: the weight of {some_of(term for term, _ in own)} is 0 in each of "
                f"the {recipe.epochs} epochs",
                expected="an objective with a weight for each network that learns",
                remedy=f"set objectives.{own[0][0]}.weight, or networks.{name}.frozen=true",
            )


def _check_sides(objective: Objective, spec: LossSpec, recipe: Recipe) -> None:
    place = f"objectives.{objective.name}"
    if spec.needs_source and not objective.sources:
        raise PreceptorError(f"{place}: the loss {spec.name} learns from a network", expected="from: NAME and to: NAME")
    if not spec.needs_source and objective.sources:
        raise PreceptorError(
            f"{place}: the loss {spec.name} reads one network", expected="of: NAME instead of from and to"
        )
    learner = recipe.networks[objective.learner]
    if learner.mean_of and "to.projection" not in {spec.feeds[argument] for argument in spec.trains}:
        raise PreceptorError(
            f"{place}: {objective.learner!r} is the mean of {learner.mean_of!r}: {spec.name} cannot teach it",
            remedy=f"set objectives.{objective.name}.{'to' if objective.to else 'of'}={learner.mean_of}",
        )
    if learner.frozen == "features" and "to.logits" not in {spec.feeds[argument] for argument in spec.trains}:
        raise PreceptorError(
            f"{place}: {objective.learner!r} trains its classifier alone, which {spec.name} does not reach",
            expected="a loss on logits",
        )
    sources = {*spec.feeds.values(), *spec.facts.values()}
    if (objective.features or objective.from_features) and not any(".feature" in source for source in sources):
        raise PreceptorError(
            f"{place}.features: the loss {spec.name} compares no named feature points", remedy="leave features out"
        )
    _check_task(objective, spec, recipe)
    _check_views(objective, spec, recipe)
    _check_heads(objective, spec, recipe)


def _check_heads(objective: Objective, spec: LossSpec, recipe: Recipe) -> None:
    for feed in (*spec.feeds.values(), *spec.facts.values()):
        side, _, kind = feed.partition(".")
        if side == "from" and kind in ("logits", "classifier", "classes"):
            for name in objective.sources:
                if recipe.networks[name].gives_features:
                    raise PreceptorError(
                        f"objectives.{objective.name}: the loss {spec.name} needs the {kind} of {name}, which comes "
                        "from pretrained weights without classes",
                        expected=f"a loss on features, or networks.{name}.trained_by or .run",
                    )
        if kind not in ("projection", "bank"):
            continue
        for name in [objective.learner] if side == "to" else objective.sources:
            network = recipe.networks[name]
            head = recipe.networks[network.mean_of].projection if network.mean_of else network.projection
            if head is None:
                raise PreceptorError(
                    f"objectives.{objective.name}: the loss {spec.name} needs a projection head on {name}",
                    remedy=f"set networks.{network.mean_of or name}.projection, for instance to 128",
                )


def _check_task(objective: Objective, spec: LossSpec, recipe: Recipe) -> None:
    place, wants = f"objectives.{objective.name}", {*spec.feeds.values(), *spec.facts.values()}
    has_bank = any(source.endswith(".bank") for source in wants)
    of_labels = "label_matrix" in wants
    of_classes = not of_labels and (bool(wants & {"labels", "rows", "class_counts", "row_labels"}) or has_bank)
    if recipe.unlabelled and (wants & {"labels", "masks", "row_labels"} or has_bank):
        raise PreceptorError(
            f"{place}: the loss {spec.name} needs the label of each image, and unlabelled=true trains on some without",
            expected="a loss between networks, such as embedding_kd or kl",
            remedy="set unlabelled=false",
        )
    target = TASKS[recipe.task].target
    if of_labels and target != "labels":
        raise PreceptorError(
            f"{place}: the loss {spec.name} needs several labels per image", expected="--task multi_label"
        )
    if of_classes and target == "labels":
        raise PreceptorError(
            f"{place}: the loss {spec.name} needs one class per image, and an image has several labels",
            expected="a loss such as binary_cross_entropy or sigmoid_kd, or one between features",
        )
    if target == "labels" and {"to.logits", "from.logits"} <= wants and not spec.per_label:
        raise PreceptorError(
            f"{place}: the loss {spec.name} compares logits as one distribution over classes, and an image has several "
            "labels",
            expected="a loss that compares them label by label, such as sigmoid_kd",
        )
    if "masks" in wants and not TASKS[recipe.task].needs_masks:
        raise PreceptorError(
            f"{place}: the loss {spec.name} needs masks", expected="a loss for classification, or --task segmentation"
        )
    if of_classes and TASKS[recipe.task].needs_masks:
        raise PreceptorError(
            f"{place}: the loss {spec.name} needs one class per image, which masks do not give",
            expected="a recipe that has a form for masks, such as kd, fitnet, mean_teacher or kd_ml_v3; "
            "preceptor recipes lists them",
        )
    if has_bank and recipe.resample in ("over", "balanced"):
        raise PreceptorError(
            f"{place}: the loss {spec.name} has a memory bank, and resample={recipe.resample} shows images twice",
            expected="resample=none or under",
        )


def _check_views(objective: Objective, spec: LossSpec, recipe: Recipe) -> None:
    """Raise if the networks of an objective see an image in views that its loss cannot compare."""
    place, learner = f"objectives.{objective.name}", objective.learner
    by_place = spec.compares_places or TASKS[recipe.task].needs_masks  # a mask is predicted place by place
    for source in objective.sources:
        if by_place and recipe.draw(source) != recipe.draw(learner):
            raise PreceptorError(
                f"{place}: {source} and {learner} see an image in different places, and are compared place by place",
                remedy=f"set views.{source}.same_as={learner}, or the reverse",
            )
        if spec.tells_views_apart and recipe.transforms(source) != recipe.transforms(learner):
            raise PreceptorError(
                f"{place}: {source} and {learner} do not see the same views",
                remedy=f"set views.{source}.same_as={learner}",
            )
        if recipe.draw(source) != recipe.draw(learner) and (recipe.mixup(source) or recipe.mixup(learner)):
            raise PreceptorError(
                f"{place}: {source} and {learner} see differently mixed images and cannot be compared",
                remedy=f"set views.{source}.same_as={learner}, or leave mixup out",
            )
    if recipe.mixup(learner) and any(
        feed in ("rows", "masks") or feed.endswith(".bank") for feed in spec.feeds.values()
    ):
        raise PreceptorError(
            f"{place}: the loss {spec.name} reads one image's own row or mask, which mixup has mixed with another",
            remedy=f"leave views.{recipe.draw(learner)}.mixup out",
        )
    several = bool(recipe.transforms(learner))
    if spec.tells_views_apart:
        if not several:
            raise PreceptorError(
                f"{place}: the loss {spec.name} compares several views of an image, but {learner} sees one",
                remedy=f"set views.{learner}.extra_transforms, for instance to [rot90, rot180, rot270]",
            )
        if objective.images == "upright":
            raise PreceptorError(f"{place}.images: the loss {spec.name} compares views of an image", expected="all")
    elif objective.images == "all":
        if not several:
            raise PreceptorError(
                f"{place}.images: {learner} sees one view of an image",
                remedy=f"set views.{learner}.extra_transforms, or leave images out",
            )
        if any(feed == "rows" or feed.endswith(".bank") for feed in spec.feeds.values()):
            raise PreceptorError(
                f"{place}.images: the loss {spec.name} uses memory banks, which hold one row per image",
                expected="upright",
            )
