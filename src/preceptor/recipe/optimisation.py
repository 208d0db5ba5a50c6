"""Optimisers and the course of their learning rates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_serializer

from preceptor.recipe.section import Positive, Section, without_defaults

Rate = Annotated[float, Field(gt=0)]
Betas = Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)]


class Optimiser(Section):
    """What all optimisers share.

    ``lr`` is the learning rate of everything that is trained; ``network_lr`` gives some networks one of their own, as
    in ``{teacher: 1e-4}``, and every schedule scales all of them alike. ``clip_norm`` scales the gradient of a step
    down to this norm, over all parameters together. ``accumulate`` averages the gradients of so many batches before
    each step, so that a small memory trains as with a larger batch (losses that relate images see each batch apart).
    """

    lr: Rate = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    network_lr: dict[str, Rate] = Field(default_factory=dict)
    clip_norm: Rate | None = None
    accumulate: Positive = 1

    @model_serializer(mode="wrap")
    def _short(self, handler: object) -> dict[str, object]:
        """Leave out what only few recipes set."""
        plain: dict[str, object] = handler(self)  # type: ignore[operator]
        rare = without_defaults(self, plain)
        return {key: value for key, value in plain.items() if key not in _RARE or key in rare}


_RARE = ("network_lr", "clip_norm", "accumulate")


class Adam(Optimiser):
    """Adam with L2 weight decay, as torch.optim.Adam."""

    name: Literal["adam"] = "adam"
    lr: Rate = 1e-3
    betas: Betas = Field(default=[0.9, 0.999])
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class AdamW(Optimiser):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as torch.optim.AdamW."""

    name: Literal["adamw"] = "adamw"
    lr: Rate = 1e-3
    betas: Betas = Field(default=[0.9, 0.999])
    weight_decay: Annotated[float, Field(ge=0)] = 0.01


class SGD(Optimiser):
    """Stochastic gradient descent with momentum, as torch.optim.SGD."""

    name: Literal["sgd"] = "sgd"
    lr: Rate = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class OneCycle(Section):
    """torch's OneCycleLR over all steps; ``lr`` of the optimiser is the peak, reached after the ``warmup`` share."""

    name: Literal["one_cycle"] = "one_cycle"
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.3
    cycle_momentum: bool = False


class Cosine(Section):
    """A half cosine from ``lr`` to ``final``·``lr`` over all steps, after a linear rise over ``warmup`` epochs."""

    name: Literal["cosine"] = "cosine"
    warmup: Annotated[float, Field(ge=0)] = 0.0
    final: Annotated[float, Field(ge=0, le=1)] = 0.0


class MultiStep(Section):
    """``lr`` is multiplied by ``factor`` when each of these ``epochs`` begins, counted from 0."""

    name: Literal["multi_step"] = "multi_step"
    epochs: Annotated[list[Positive], Field(min_length=1)]
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1

    @field_validator("epochs")
    @classmethod
    def _rising(cls, value: list[int]) -> list[int]:
        if sorted(set(value)) != value:
            raise ValueError(f"epochs {value}: expected rising numbers, as in [30, 45]")
        return value


class Exponential(Section):
    """``lr`` is multiplied by ``factor`` after every epoch."""

    name: Literal["exponential"] = "exponential"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.9


class Plateau(Section):
    """``lr`` is multiplied by ``factor`` when the selection metric has not improved for ``patience`` epochs."""

    name: Literal["plateau"] = "plateau"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=0)] = 10


class Constant(Section):
    """``lr`` stays as it is."""

    name: Literal["constant"] = "constant"
