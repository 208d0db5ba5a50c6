"""Objectives made ready: each loss with its module, where its inputs come from, and what it weighs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import torch
from pydantic import ConfigDict, ValidationError, create_model
from torch import Tensor, nn

from preceptor.data.batches import resampled
from preceptor.errors import PreceptorError, did_you_mean
from preceptor.losses.registry import LOSSES, LossSpec
from preceptor.networks.build import AnyNetwork
from preceptor.networks.memory_bank import MemoryBank
from preceptor.networks.output import NetworkOutput
from preceptor.randomness import generator
from preceptor.recipe import Objective, Recipe
from preceptor.training.gather import gather_views
from preceptor.training.weights import weight_at


@dataclass(frozen=True)
class Scene:
    """What one step has to offer to objectives.

    Attributes:
        outputs: of each network, for the V·n views of this process's images, in float32.
        banks: memory banks by the network that they describe.
        labels: (n,) classes.
        rows: (n,) rows of the training part.
        masks: (V·n, H, W) class indices for the views of each network, by network; empty where there are none.
        address: (seed, epoch, step), for random draws.
        sizes: images of each process in this step.
    """

    outputs: Mapping[str, NetworkOutput]
    banks: Mapping[str, MemoryBank]
    labels: Tensor
    rows: Tensor
    masks: Mapping[str, Tensor]
    address: tuple[int, int, int]
    sizes: list[int]


class Term(nn.Module):
    """One objective of a recipe. Its state (adapters, running estimates) is that of its loss module."""

    def __init__(self, objective: Objective, spec: LossSpec, loss: nn.Module) -> None:
        super().__init__()
        self.objective, self.spec, self.loss = objective, spec, loss

    def weight(self, epoch: int) -> float:
        return weight_at(self.objective.weight, epoch)

    @property
    def networks(self) -> set[str]:
        """The networks that it looks at."""
        feeds = self.spec.feeds.values()
        return {self._network(feed) for feed in feeds if feed.startswith(("to.", "from."))}

    @property
    def banks(self) -> set[str]:
        """The networks whose memory banks it looks at."""
        return {self._network(feed) for feed in self.spec.feeds.values() if feed.endswith(".bank")}

    def forward(self, scene: Scene) -> Tensor:
        """The loss of this process's images, or of the global batch where it relates images.

        Either way the mean over processes is the loss of the global batch.
        """
        several = len(scene.sizes) > 1
        inputs = {name: self._input(name, feed, scene) for name, feed in self.spec.feeds.items()}
        if several and self.spec.relates_images:
            inputs = {
                name: gather_views(value, scene.sizes) if isinstance(value, Tensor) else value
                for name, value in inputs.items()
            }
            return self.loss(**inputs)
        loss = self.loss(**inputs)
        share = len(scene.labels) * len(scene.sizes) / sum(scene.sizes)
        return loss * share if several else loss

    def _network(self, feed: str) -> str:
        side = self.objective.learner if feed.startswith("to.") else self.objective.source
        assert side is not None
        return side

    def _input(self, argument: str, feed: str, scene: Scene) -> Any:
        if feed == "generator":
            return generator(*scene.address, f"objective/{self.objective.name}", device=scene.labels.device)
        if feed == "views":
            return self._views(scene)
        if feed in ("labels", "rows"):
            value = getattr(scene, feed)
            return value.repeat(self._views(scene)) if self.sees_all and not self.spec.tells_views_apart else value
        if feed.endswith(".bank"):
            return scene.banks[self._network(feed)]
        if feed == "masks":
            value = scene.masks[self.objective.learner]
        else:
            value = getattr(scene.outputs[self._network(feed)], feed.split(".")[1])
        value = value if self.sees_all else value[: len(scene.rows)]
        return value if argument in self.spec.trains else value.detach()

    @property
    def sees_all(self) -> bool:
        """Whether it looks at all views of an image, or at the upright one alone."""
        return self.spec.tells_views_apart or self.objective.images == "all"

    def _views(self, scene: Scene) -> int:
        return len(scene.outputs[self.objective.learner].logits) // len(scene.rows)


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
        spec = _spec(objective)
        _settings(objective, spec)
        _check_sides(objective, spec, recipe)


def build_terms(recipe: Recipe, networks: Mapping[str, AnyNetwork], row_labels: Tensor, classes: int) -> list[Term]:
    """The objectives of a recipe, in its order. Learned parts of losses start from (seed, name) alone.

    Args:
        row_labels: (N,) class of each row of the training part.
        classes: C.
    """
    shown = resampled(row_labels.numpy(), recipe.resample, recipe.seed, 0)  # as many of each class in every epoch
    facts: dict[str, Any] = {
        "class_counts": torch.bincount(row_labels[torch.from_numpy(shown)], minlength=classes),
        "row_labels": row_labels,
    }
    terms = []
    for objective in recipe.objectives:
        spec = _spec(objective)
        sides = {"to": networks[objective.learner], "from": networks.get(objective.source or "")}
        wanted = {argument: _fact(fact, facts, sides) for argument, fact in spec.facts.items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator(recipe.seed, "objective", objective.name).initial_seed())
            try:
                loss = spec.module(**_settings(objective, spec), **wanted)
            except PreceptorError as error:
                raise _placed(error, objective) from None
        terms.append(Term(objective, spec, loss))
    return terms


def build_banks(
    recipe: Recipe, networks: Mapping[str, AnyNetwork], terms: list[Term], row_labels: Tensor, classes: int
) -> dict[str, MemoryBank]:
    """A memory bank for each network that an objective compares with what it said of other images."""
    wanted = set().union(*(term.banks for term in terms))
    return {
        name: MemoryBank(
            row_labels, int(networks[name].projection_size or 0), classes, generator(recipe.seed, "bank", name)
        )
        for name in networks
        if name in wanted
    }


def _placed(error: PreceptorError, objective: Objective) -> PreceptorError:
    return PreceptorError(f"objectives.{objective.name}: {error.what}", expected=error.expected, remedy=error.remedy)


def _fact(fact: str, facts: Mapping[str, Any], sides: Mapping[str, AnyNetwork | None]) -> Any:
    if fact in facts:
        return facts[fact]
    side, _, what = fact.partition(".")
    network = sides[side]
    assert network is not None
    return {
        "channels": network.channels,
        "embedding": network.embedding_size,
        "projection": network.projection_size,
    }[what]


def _spec(objective: Objective) -> LossSpec:
    try:
        return LOSSES[objective.loss]
    except PreceptorError as error:
        raise _placed(error, objective) from None


def _settings(objective: Objective, spec: LossSpec) -> dict[str, Any]:
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
    several = bool(recipe.transforms(objective.learner))
    if spec.tells_views_apart:
        if not several:
            raise PreceptorError(
                f"{place}: the loss {spec.name} compares views of an image, and {objective.learner} sees one",
                remedy=f"set views.{objective.learner}.also, for instance to [rot90, rot180, rot270]",
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
                remedy=f"set views.{objective.learner}.also, or leave images out",
            )
        if any(feed == "rows" or feed.endswith(".bank") for feed in spec.feeds.values()):
            raise PreceptorError(
                f"{place}.images: the loss {spec.name} uses memory banks, which hold one row an image",
                expected="upright",
            )
