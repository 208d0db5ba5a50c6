"""Objectives made ready: each loss with its module, where its inputs come from, and what it weighs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import resampled
from preceptor.losses.registry import LossSpec
from preceptor.networks.build import AnyNetwork
from preceptor.networks.memory_bank import MemoryBank
from preceptor.networks.output import NetworkOutput
from preceptor.recipe import Objective, Recipe
from preceptor.training.checks import placed, settings_of, spec_of
from preceptor.training.gather import gather_views
from preceptor.training.loss_schedules import weight_at
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator


@dataclass(frozen=True)
class LossInputs:
    """What one step has to offer to objectives.

    Attributes:
        outputs: of each network, for the V·n views of this process's images, in float32.
        banks: memory banks by the network that they describe.
        labels: (n,) classes.
        rows: (n,) rows of the training part.
        masks: (V·n, H, W) class indices for the views of each network, by network; empty where there are none.
        rng_key: (seed, epoch, step), for random draws.
        sizes: images of each process in this step.
    """

    outputs: Mapping[str, NetworkOutput]
    banks: Mapping[str, MemoryBank]
    labels: Tensor
    rows: Tensor
    masks: Mapping[str, Tensor]
    rng_key: tuple[int, int, int]
    sizes: list[int]


class ObjectiveModule(nn.Module):
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

    def forward(self, step: LossInputs) -> Tensor:
        """The loss of this process's images, or of the global batch where it relates images.

        Either way the mean over processes is the loss of the global batch.
        """
        several = len(step.sizes) > 1
        inputs = {name: self._input(name, feed, step) for name, feed in self.spec.feeds.items()}
        if several and self.spec.relates_images:
            inputs = {
                name: gather_views(value, step.sizes) if isinstance(value, Tensor) else value
                for name, value in inputs.items()
            }
            return self.loss(**inputs)
        loss = self.loss(**inputs)
        share = len(step.labels) * len(step.sizes) / sum(step.sizes)
        return loss * share if several else loss

    def _network(self, feed: str) -> str:
        side = self.objective.learner if feed.startswith("to.") else self.objective.source
        assert side is not None
        return side

    def _input(self, argument: str, feed: str, step: LossInputs) -> Any:
        if feed == "generator":
            return generator(*step.rng_key, f"objective/{self.objective.name}", device=step.labels.device)
        if feed == "views":
            return self._views(step)
        if feed in ("labels", "rows"):
            value = getattr(step, feed)
            return value.repeat(self._views(step)) if self.sees_all and not self.spec.tells_views_apart else value
        if feed.endswith(".bank"):
            return step.banks[self._network(feed)]
        if feed == "masks":
            value = step.masks[self.objective.learner]
        else:
            value = getattr(step.outputs[self._network(feed)], feed.split(".")[1])
        value = value if self.sees_all else value[: len(step.rows)]
        return value if argument in self.spec.trains else value.detach()

    @property
    def sees_all(self) -> bool:
        """Whether it looks at all views of an image, or at the upright one alone."""
        return self.spec.tells_views_apart or self.objective.images == "all"

    def _views(self, step: LossInputs) -> int:
        return len(step.outputs[self.objective.learner].logits) // len(step.rows)


def build_objectives(
    recipe: Recipe, networks: Mapping[str, AnyNetwork], row_labels: Tensor, classes: int
) -> list[ObjectiveModule]:
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
    objectives = []
    for objective in recipe.objectives:
        spec = spec_of(objective)
        sides = {"to": networks[objective.learner], "from": networks.get(objective.source or "")}
        wanted = {argument: _fact(fact, facts, sides) for argument, fact in spec.facts.items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator(recipe.seed, "objective", objective.name).initial_seed())
            try:
                loss = spec.module(**settings_of(objective, spec), **wanted)
            except PreceptorError as error:
                raise placed(error, objective) from None
        objectives.append(ObjectiveModule(objective, spec, loss))
    return objectives


def build_banks(
    recipe: Recipe,
    networks: Mapping[str, AnyNetwork],
    objectives: list[ObjectiveModule],
    row_labels: Tensor,
    classes: int,
) -> dict[str, MemoryBank]:
    """A memory bank for each network that an objective compares with what it said of other images."""
    wanted = set().union(*(objective_module.banks for objective_module in objectives))
    return {
        name: MemoryBank(
            row_labels, int(networks[name].projection_size or 0), classes, generator(recipe.seed, "bank", name)
        )
        for name in networks
        if name in wanted
    }


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
