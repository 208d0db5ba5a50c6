"""What an objective weighs in an epoch."""

from __future__ import annotations

import math

from preceptor.recipe import Ramp, Steps


def weight_at(weight: float | Ramp | Steps, epoch: int) -> float:
    """The weight in ``epoch``, counted from 0; see :class:`preceptor.recipe.Ramp` and ``Steps`` for the formulas."""
    if isinstance(weight, Steps):
        return weight.steps[max(start for start in weight.steps if start <= epoch)]
    if not isinstance(weight, Ramp):
        return weight
    if epoch < weight.start:
        return 0.0
    share = min((epoch - weight.start) / weight.epochs, 1.0)
    return weight.to * (math.exp(-5 * (1 - share) ** 2) if weight.ramp == "gaussian" else share)
