"""Weights of objectives over the epochs."""

from __future__ import annotations

import math

from preceptor.recipe import Ramp, Steps


def weight_at(weight: float | Ramp | Steps, epoch: int) -> float:
    """Return the weight in ``epoch``, counted from 0; :class:`preceptor.recipe.Ramp` and ``Steps`` have the formulas.

    >>> ramp = Ramp(ramp="gaussian", epochs=30, on=20)
    >>> [round(weight_at(ramp, epoch), 3) for epoch in (0, 19, 20, 25, 30)]
    [0.0, 0.0, 0.574, 0.87, 1.0]
    >>> [weight_at(Ramp(ramp="linear", epochs=4), epoch) for epoch in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    if isinstance(weight, Steps):
        return weight.steps[max(start for start in weight.steps if start <= epoch)]
    if not isinstance(weight, Ramp):
        return weight
    if epoch < max(weight.start, weight.on):
        return 0.0
    begun = epoch - weight.start
    if weight.ramp == "linear":
        return weight.to * min((begun + 1) / weight.epochs, 1.0)
    return weight.to * math.exp(-5 * (1 - min(begun / weight.epochs, 1.0)) ** 2)
