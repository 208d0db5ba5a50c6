"""Optimisers and the course of their learning rates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from preceptor.recipe.section import Section


class Adam(Section):
    """Adam with L2 weight decay, as torch.optim.Adam."""

    name: Literal["adam"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)] = Field(
        default=[0.9, 0.999]
    )
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class SGD(Section):
    """Stochastic gradient descent with momentum, as torch.optim.SGD."""

    name: Literal["sgd"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class OneCycle(Section):
    """torch's OneCycleLR over all steps; ``lr`` of the optimiser is the peak, reached after the ``warmup`` share."""

    name: Literal["one_cycle"] = "one_cycle"
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.3
    cycle_momentum: bool = False


class Plateau(Section):
    """``lr`` is multiplied by ``factor`` when the selection metric has not improved for ``patience`` epochs."""

    name: Literal["plateau"] = "plateau"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=0)] = 10


class Constant(Section):
    """``lr`` stays as it is."""

    name: Literal["constant"] = "constant"
