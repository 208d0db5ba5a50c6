"""torch's optimisers and schedules for what a recipe says."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import lr_scheduler

from preceptor.recipe import Adam, OneCycle, Plateau, Recipe

Schedule = lr_scheduler.OneCycleLR | lr_scheduler.ReduceLROnPlateau | None


def build_optimiser(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    said = recipe.optimiser
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if isinstance(said, Adam):
        return torch.optim.Adam(trained, said.lr, betas=(said.betas[0], said.betas[1]), weight_decay=said.weight_decay)
    return torch.optim.SGD(
        trained, said.lr, momentum=said.momentum, nesterov=said.nesterov, weight_decay=said.weight_decay
    )


def build_schedule(recipe: Recipe, optimiser: torch.optim.Optimizer, steps_per_epoch: int) -> Schedule:
    """One-cycle moves after every step, plateau after every epoch's validation; constant is None."""
    said = recipe.schedule
    if isinstance(said, OneCycle):
        return lr_scheduler.OneCycleLR(
            optimiser,
            max_lr=recipe.optimiser.lr,
            total_steps=recipe.epochs * steps_per_epoch,
            pct_start=said.warmup,
            cycle_momentum=said.cycle_momentum,
        )
    if isinstance(said, Plateau):
        return lr_scheduler.ReduceLROnPlateau(optimiser, mode="max", factor=said.factor, patience=said.patience)
    return None
