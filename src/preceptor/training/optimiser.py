"""torch's optimisers and learning-rate schedules for what a recipe sets."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import lr_scheduler

from preceptor.evaluation.metrics import METRICS
from preceptor.recipe import SGD, Adam, AdamW, Constant, Cosine, Exponential, MultiStep, OneCycle, Plateau, Recipe

Schedule = lr_scheduler.OneCycleLR | lr_scheduler.LambdaLR | lr_scheduler.ReduceLROnPlateau | None


def build_optimiser(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimiser of everything in ``model`` that receives gradient, but for the critics of adversarial losses.

    Networks with a rate of their own (``optimiser.network_lr``) have a parameter group each, all else is in the first.

    Args:
        model: holds the recipe's networks under ``networks.NAME``.
    """
    config = recipe.optimiser
    groups: dict[str, list[nn.Parameter]] = {"": [], **{name: [] for name in config.network_lr}}
    for key, parameter in model.named_parameters():
        if parameter.requires_grad and not _of_critic(key):
            section, _, rest = key.partition(".")
            network = rest.partition(".")[0] if section == "networks" else ""
            groups[network if network in config.network_lr else ""].append(parameter)
    rates = {"": config.lr, **config.network_lr}
    return _optimiser(config, [{"params": group, "lr": rates[name]} for name, group in groups.items() if group])


def build_critic_optimiser(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer | None:
    """Build the optimiser of the critics of adversarial losses; None where there are none."""
    critics = [parameter for key, parameter in model.named_parameters() if _of_critic(key)]
    return _optimiser(recipe.critic_optimiser, [{"params": critics}]) if critics else None


def _of_critic(key: str) -> bool:
    return key.startswith("objectives.") and ".critic." in key


def _optimiser(config: Adam | AdamW | SGD, trained: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """One kernel (``fused``) steps all parameters, which is faster than one after the other, on a CPU too."""
    if isinstance(config, Adam | AdamW):
        kind = torch.optim.AdamW if isinstance(config, AdamW) else torch.optim.Adam
        betas = (config.betas[0], config.betas[1])
        return kind(trained, config.lr, betas=betas, weight_decay=config.weight_decay, fused=True)
    return torch.optim.SGD(
        trained,
        config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=True,
    )


def build_schedule(recipe: Recipe, optimiser: torch.optim.Optimizer, steps_per_epoch: int) -> Schedule:
    """Build the schedule. Plateau moves after every epoch's validation, the others after every step; constant is None.

    Args:
        steps_per_epoch: steps of the optimiser in an epoch.
    """
    config, steps = recipe.schedule, recipe.epochs * steps_per_epoch
    if isinstance(config, Constant):
        return None
    if isinstance(config, OneCycle):
        return lr_scheduler.OneCycleLR(
            optimiser,
            max_lr=[group["lr"] for group in optimiser.param_groups],
            total_steps=steps,
            pct_start=config.warmup,
            cycle_momentum=config.cycle_momentum,
        )
    if isinstance(config, Plateau):
        return lr_scheduler.ReduceLROnPlateau(
            optimiser,
            mode="max" if METRICS[recipe.select.metric].higher_is_better else "min",
            factor=config.factor,
            patience=config.patience,
        )
    return lr_scheduler.LambdaLR(optimiser, _factor(config, steps, steps_per_epoch))


class Descent:
    """Optimiser and schedule of a run: takes the gradient of each batch and steps when its group is complete.

    Args:
        wrapped: the model as Fabric set it up.
        batches: how many an epoch has; as many in each.
        critics: the optimiser of adversarial losses' critics. It steps right after the other, on the gradient of the
            same pass: the critic's loss sees outputs without their gradient, and the student's a critic without its.
    """

    def __init__(
        self,
        fabric: Fabric,
        recipe: Recipe,
        wrapped: nn.Module,
        optimiser: torch.optim.Optimizer,
        batches: int,
        critics: torch.optim.Optimizer | None = None,
    ) -> None:
        self.fabric, self.config, self.wrapped, self.optimiser = fabric, recipe.optimiser, wrapped, optimiser
        self.critics, self.batches = critics, batches
        self.schedule = build_schedule(recipe, optimiser, math.ceil(batches / self.config.accumulate))

    def backward(self, loss: Tensor, batch: int) -> bool:
        """Add the gradient of a batch, averaged over its group, and step after the last batch of the group.

        The last group of an epoch may be smaller.

        Args:
            batch: its place in the epoch, from 0.

        Returns:
            Whether the optimiser stepped.
        """
        place = batch % self.config.accumulate
        group = min(self.config.accumulate, self.batches - batch + place)
        if place == 0:
            self.optimiser.zero_grad()
            if self.critics is not None:
                self.critics.zero_grad()
        self.fabric.backward(loss if group == 1 else loss / group)
        if place < group - 1:
            return False
        if self.config.clip_norm is not None:
            self.fabric.clip_gradients(self.wrapped, self.optimiser, max_norm=self.config.clip_norm)  # type: ignore[arg-type]
        self.optimiser.step()
        if self.critics is not None:
            self.critics.step()
        if self.schedule is not None and not isinstance(self.schedule, lr_scheduler.ReduceLROnPlateau):
            self.schedule.step()
        return True


def _factor(config: Cosine | MultiStep | Exponential, steps: int, steps_per_epoch: int) -> Callable[[int], float]:
    """Return the factor of the learning rate before each step, counted from 0."""
    if isinstance(config, MultiStep):
        return lambda step: config.factor ** sum(step >= epoch * steps_per_epoch for epoch in config.epochs)
    if isinstance(config, Exponential):
        return lambda step: config.factor ** (step // steps_per_epoch)
    warmup = round(config.warmup * steps_per_epoch)

    def cosine(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        share = min((step - warmup) / max(steps - warmup, 1), 1.0)
        return config.final + (1 - config.final) * (1 + math.cos(math.pi * share)) / 2

    return cosine
