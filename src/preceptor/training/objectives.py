"""Objectives of a recipe: each loss as a module, where its inputs come from, and its weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import resampled
from preceptor.losses.registry import LossSpec
from preceptor.networks.build import AnyNetwork
from preceptor.networks.heads import head_for
from preceptor.networks.memory_bank import MemoryBank
from preceptor.networks.output import NetworkOutput
from preceptor.recipe import Objective, Recipe
from preceptor.training.checks import settings_of, spec_of
from preceptor.training.distributed import gather_views
from preceptor.training.loss_schedules import weight_at
from preceptor.utils.errors import PreceptorError, is_out_of_memory, prefix_errors
from preceptor.utils.randomness import generator, global_generator_at


@dataclass(frozen=True)
class LossInputs:
    """All tensors of one step that a loss may ask for.

    Attributes:
        outputs: of each network, for the V·n views of this process's images, in float32.
        banks: memory banks by the network that they describe.
        labels: (n,) classes, or (n, L) labels.
        rows: (n,) rows of the training part.
        masks: (V·n, H, W) class indices for the views of each network, by network; empty where there are none.
        rng_key: (seed, epoch, step), for random draws.
        sizes: images of each process in this step.
        classifiers: the last layer of each network.
        mixed: λ of mixup by network; the partner of each image is the next one of the batch.
    """

    outputs: Mapping[str, NetworkOutput]
    banks: Mapping[str, MemoryBank]
    labels: Tensor
    rows: Tensor
    masks: Mapping[str, Tensor]
    rng_key: tuple[int, int, int]
    sizes: list[int]
    classifiers: Mapping[str, nn.Module] = field(default_factory=dict)
    mixed: Mapping[str, float] = field(default_factory=dict)


class ObjectiveModule(nn.Module):
    """One objective of a recipe. Its state (adapters, running estimates) is that of its loss module.

    Args:
        losses: the loss module of each network that the objective learns from, by its name; one under ``""`` for a loss
            of a single network. With several teachers the objective is the weighted sum of one loss each, which for
            the KL divergence has the gradient of the divergence from the teachers' mean probabilities.
    """

    def __init__(self, objective: Objective, spec: LossSpec, losses: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.objective, self.spec = objective, spec
        self.loss = nn.ModuleDict(losses) if len(losses) > 1 else next(iter(losses.values()))

    def weight(self, epoch: int) -> float:
        """Return the objective's weight in an epoch, counted from 0."""
        return weight_at(self.objective.weight, epoch)

    @property
    def networks(self) -> set[str]:
        """The networks whose outputs it reads."""
        feeds = (*self.spec.feeds.values(), *self.spec.critic.values())
        return {name for feed in feeds if feed.startswith(("to.", "from.")) for name in self._networks(feed)}

    def outputs(self, network: str) -> set[str]:
        """Return which fields of a network's :class:`NetworkOutput` it reads."""
        feeds = (*self.spec.feeds.values(), *self.spec.critic.values())
        fields = {feed.partition(".")[2] for feed in feeds if "." in feed and network in self._networks(feed)}
        return fields - {"bank", "classifier"}

    @property
    def banks(self) -> set[str]:
        """The networks whose memory banks it reads."""
        return {name for feed in self.spec.feeds.values() if feed.endswith(".bank") for name in self._networks(feed)}

    def features(self, network: str) -> tuple[str, ...]:
        """Return the feature points of a network that it reads."""
        feeds = {feed for feed in self.spec.feeds.values() if feed.endswith(".features")}
        return tuple(
            point
            for side in ("to", "from")
            if f"{side}.features" in feeds and network in self._networks(f"{side}.features")
            for point in feature_points(self.objective, self.spec, side)
        )

    def forward(self, step: LossInputs) -> Tensor:
        """Return the loss of this process's images, or of the global batch where the loss relates images.

        Either way the mean over processes is the loss of the global batch.

        Raises:
            PreceptorError: the loss fails, or returns something else than a scalar tensor; names the objective.
        """
        sources = self.objective.sources
        if len(sources) <= 1:
            return self._value(self.loss, next(iter(sources), None), step)
        assert isinstance(self.loss, nn.ModuleDict)
        values = [weight * self._value(self.loss[name], name, step) for name, weight in sources.items()]
        return torch.stack(values).sum()

    def critic_loss(self, step: LossInputs) -> Tensor:
        """Return what the critic of an adversarial loss minimises, of the same outputs without their gradient."""
        sources = self.objective.sources
        losses = self.loss.items() if isinstance(self.loss, nn.ModuleDict) else [(next(iter(sources), None), self.loss)]
        values = []
        for source, loss in losses:
            inputs = {name: self._input("", feed, source, step) for name, feed in self.spec.critic.items()}
            if len(step.sizes) > 1:
                inputs = {name: _gathered(value, step.sizes) for name, value in inputs.items()}
            values.append(sources.get(source or "", 1.0) * self._called(loss.critic_loss, inputs))  # type: ignore[arg-type]
        return torch.stack(values).sum()

    def _value(self, loss: nn.Module, source: str | None, step: LossInputs) -> Tensor:
        share = step.mixed.get(self.objective.learner)
        if share is None or not {"labels", "label_matrix"} & set(self.spec.feeds.values()):
            return self._plain_value(loss, source, step)
        partners = replace(step, labels=step.labels.roll(-1, 0))
        return share * self._plain_value(loss, source, step) + (1 - share) * self._plain_value(loss, source, partners)

    def _plain_value(self, loss: nn.Module, source: str | None, step: LossInputs) -> Tensor:
        inputs = {name: self._input(name, feed, source, step) for name, feed in self.spec.feeds.items()}
        if len(step.sizes) == 1:
            return self._called(loss, inputs)
        if self.spec.relates_images:
            return self._called(loss, {name: _gathered(value, step.sizes) for name, value in inputs.items()})
        return self._called(loss, inputs) * (len(step.labels) * len(step.sizes) / sum(step.sizes))

    def _called(self, loss: Callable[..., Any], inputs: Mapping[str, Any]) -> Tensor:
        """Return what a loss, perhaps a user's, makes of its inputs; whatever goes wrong names the objective."""
        try:
            value = loss(**inputs)
        except PreceptorError:
            raise
        except Exception as error:  # whatever the loss does
            if is_out_of_memory(error):
                raise
            raise PreceptorError(
                f"objectives.{self.objective.name}: the loss {self.spec.name} fails: {type(error).__name__}: {error}",
                expected="a scalar tensor",
            ) from error
        if not isinstance(value, Tensor) or value.ndim:
            given = f"a tensor of the shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise PreceptorError(
                f"objectives.{self.objective.name}: the loss {self.spec.name} returns {given}",
                expected="a scalar tensor",
                remedy="return its mean over the images, such as values.mean()",
            )
        return value

    def _networks(self, feed: str) -> tuple[str, ...]:
        return (self.objective.learner,) if feed.startswith("to.") else tuple(self.objective.sources)

    def _input(self, argument: str, feed: str, source: str | None, step: LossInputs) -> Any:
        side, _, kind = feed.partition(".")
        network = self.objective.learner if side == "to" else str(source)
        if feed == "generator":
            return generator(*step.rng_key, f"objective/{self.objective.name}", device=step.labels.device)
        if feed == "views":
            return self._views(step)
        if feed in ("labels", "label_matrix", "rows"):
            value = step.rows if feed == "rows" else step.labels
            every_view = self.sees_all and not self.spec.tells_views_apart
            return torch.cat([value] * self._views(step)) if every_view else value
        if kind == "bank":
            return step.banks[network]
        if kind == "classifier":
            return head_for(step.classifiers[network], source if side == "to" else None)
        trains = argument in self.spec.trains
        if kind == "features":
            maps = step.outputs[network].features
            points = feature_points(self.objective, self.spec, side)
            return [self._images(maps[point], trains, step) for point in points]
        if feed == "masks":
            return self._images(step.masks[self.objective.learner], trains, step)
        output = step.outputs[network]
        own = output.head_logits.get(str(source)) if feed == "to.logits" else None
        value = getattr(output, kind) if own is None else own
        return self._images(value, trains, step)

    def _images(self, value: Tensor, trains: bool, step: LossInputs) -> Tensor:
        value = value if self.sees_all else value[: len(step.rows)]
        return value if trains else value.detach()

    @property
    def sees_all(self) -> bool:
        """Whether it reads all views of an image, or the upright one alone."""
        return self.spec.tells_views_apart or self.objective.images == "all"

    def _views(self, step: LossInputs) -> int:
        return len(step.outputs[self.objective.learner].logits) // len(step.rows)


def feature_points(objective: Objective, spec: LossSpec, side: str) -> tuple[str, ...]:
    """Return the feature points that an objective compares on one side (``to`` or ``from``), in order."""
    named = (objective.from_features or objective.features) if side == "from" else objective.features
    return tuple(named or spec.features)


def build_objectives(
    recipe: Recipe, networks: Mapping[str, AnyNetwork], row_labels: Tensor, classes: int
) -> list[ObjectiveModule]:
    """Build the objectives of a recipe, in its order. Learned parts of losses start from (seed, name) alone.

    Args:
        row_labels: (N,) class of each row of the training part, or (N, L) labels.
        classes: C.

    Raises:
        PreceptorError: names the objective whose loss cannot be built for these networks.
    """
    drawn = resampled(row_labels.numpy(), recipe.resample, recipe.seed, 0)  # as many of each class in every epoch
    facts: dict[str, Any] = {
        "class_counts": _class_counts(row_labels[torch.from_numpy(drawn)], classes),
        "row_labels": row_labels,
        "batch_size": min(recipe.batch_size, len(drawn)),
    }
    return [_build(recipe, objective, networks, facts) for objective in recipe.objectives]


def _class_counts(labels: Tensor, classes: int) -> Tensor:
    """Return the images of each class, or with each label, (C,)."""
    return torch.bincount(labels[labels >= 0], minlength=classes) if labels.ndim == 1 else (labels == 1).sum(0)


def _build(
    recipe: Recipe, objective: Objective, networks: Mapping[str, AnyNetwork], facts: Mapping[str, Any]
) -> ObjectiveModule:
    spec = spec_of(objective)
    settings = settings_of(objective, spec)
    losses = {}
    for source in objective.sources or {"": 1.0}:
        sides = {"to": networks[objective.learner], "from": networks.get(source)}
        purpose = (objective.name, source) if len(objective.sources) > 1 else (objective.name,)
        place = f"objectives.{objective.name}"
        with global_generator_at(recipe.seed, "objective", *purpose), prefix_errors(place):
            wanted = {name: _fact(fact, facts, sides, objective, spec) for name, fact in spec.facts.items()}
            for side in ("to", "from"):  # points that no fact asks for must exist all the same
                if f"{side}.features" in spec.feeds.values():
                    _fact(f"{side}.feature_channels", facts, sides, objective, spec)
            losses[source] = spec.module(**settings, **wanted)
    return ObjectiveModule(objective, spec, losses)


def build_banks(
    recipe: Recipe,
    networks: Mapping[str, AnyNetwork],
    objectives: list[ObjectiveModule],
    row_labels: Tensor,
    classes: int,
) -> dict[str, MemoryBank]:
    """Build one memory bank for each network whose stored projections an objective reads."""
    wanted = set().union(*(objective.banks for objective in objectives))
    return {
        name: MemoryBank(
            row_labels, int(networks[name].projection_size or 0), classes, generator(recipe.seed, "bank", name)
        )
        for name in networks
        if name in wanted
    }


def _fact(
    fact: str,
    facts: Mapping[str, Any],
    sides: Mapping[str, AnyNetwork | None],
    objective: Objective,
    spec: LossSpec,
) -> Any:
    if fact in facts:
        return facts[fact]
    side, _, what = fact.partition(".")
    network = sides[side]
    assert network is not None
    if what == "feature_channels":
        return network.feature_channels(feature_points(objective, spec, side))
    if what == "classes":
        return len(network.architecture.classes)
    return getattr(
        network, {"channels": "channels", "embedding": "embedding_size", "projection": "projection_size"}[what]
    )


def _gathered(value: Any, sizes: list[int]) -> Any:
    if isinstance(value, list):
        return [gather_views(tensor, sizes) for tensor in value]
    return gather_views(value, sizes) if isinstance(value, Tensor) else value
