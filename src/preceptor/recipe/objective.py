"""Terms of the loss, and how their weights move over the epochs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, field_validator, model_serializer, model_validator

from preceptor.recipe.section import Positive, Section, without_defaults


class Ramp(Section):
    """A weight that grows from about 0 to ``to`` over ``epochs`` epochs after ``start`` (0 before it).

    ``gaussian`` is to·exp(-5(1-t/epochs)²), the usual ramp of mean teachers, and ``linear`` is to·(t+1)/epochs, the
    warm-up of DKD and ReviewKD, whose released code numbers the first epoch 1; t is 0 in epoch ``start``, and both stay
    at ``to`` once they have reached it. Before epoch ``on`` the weight is 0, though t counts on: the released code of
    CRCKD counts from epoch 0 and switches its terms on at 20, at .574.
    """

    ramp: Literal["gaussian", "linear"]
    epochs: Positive
    to: float = 1.0
    start: Annotated[int, Field(ge=0)] = 0
    on: Annotated[int, Field(ge=0)] = 0

    @model_serializer(mode="wrap")
    def _short(self, handler: Any) -> dict[str, Any]:
        return without_defaults(self, handler(self))


class Steps(Section):
    """A weight that holds a value from an epoch on (epochs count from 0): ``{0: 0.1, 30: 0.01}``."""

    steps: dict[Annotated[int, Field(ge=0)], float]

    @field_validator("steps")
    @classmethod
    def _from_zero(cls, value: dict[int, float]) -> dict[int, float]:
        if 0 not in value:
            raise ValueError("steps must say the value from epoch 0 on, as in {0: 0.1, 30: 0.01}")
        return dict(sorted(value.items()))


def _weight_kind(value: Any) -> str:
    if isinstance(value, dict):
        return "steps" if "steps" in value else "ramp"
    return "ramp" if isinstance(value, Ramp) else "steps" if isinstance(value, Steps) else "number"


Weight = Annotated[
    Annotated[float, Tag("number")] | Annotated[Ramp, Tag("ramp")] | Annotated[Steps, Tag("steps")],
    Discriminator(_weight_kind),
]


class Objective(Section):
    """One term of the loss: ``{loss: kl, from: teacher, to: student, weight: 1.0, temperature: 4}``.

    ``of`` is the network that learns where there is only one, ``to`` where it learns from another. ``from`` is one
    network, a list of several that count alike, or their weights by name, which sum to one. ``name`` (the loss's own
    unless given) is what history and overrides call it. ``images`` says which views it reads where there are several
    of an image: the ``upright`` ones (the default) or ``all``. ``features`` names the feature points that a loss on
    several maps compares, ``from_features`` those of the other network where they differ. Every other key is a setting
    of the loss.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, populate_by_name=True, allow_inf_nan=False)

    loss: str
    name: str = ""
    of: str | None = None
    source: str | Annotated[list[str], Field(min_length=2)] | dict[str, float] | None = Field(
        default=None, alias="from"
    )
    to: str | None = None
    weight: Weight = 1.0
    images: Literal["upright", "all"] | None = None
    features: Annotated[list[str], Field(min_length=1)] | None = None
    from_features: Annotated[list[str], Field(min_length=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, dict) and "loss" in value and not value.get("name"):
            return {**value, "name": value["loss"]}
        return value

    @model_validator(mode="after")
    def _sides(self) -> Objective:
        if (self.of is None) == (self.to is None):
            raise ValueError("needs of (one network), or from and to (two networks)")
        if self.of is not None and self.source is not None:
            raise ValueError("of goes alone; with from, the network that learns is to")
        if isinstance(self.source, dict):
            weights = self.source.values()
            if len(weights) < 2 or min(weights) <= 0 or abs(sum(weights) - 1) > 1e-6:
                raise ValueError(f"from: weights {self.source}; two or more positive numbers that sum to one")
        if isinstance(self.source, list) and len(set(self.source)) < len(self.source):
            raise ValueError("from: names a network twice; give weights instead, as in {t1: 0.7, t2: 0.3}")
        return self

    @property
    def learner(self) -> str:
        name = self.to or self.of
        assert name is not None
        return name

    @property
    def sources(self) -> dict[str, float]:
        """The networks that it learns from, with their weights, which sum to one; empty for a loss of one network."""
        if self.source is None:
            return {}
        if isinstance(self.source, dict):
            return dict(self.source)
        names = [self.source] if isinstance(self.source, str) else self.source
        return dict.fromkeys(names, 1 / len(names))

    @property
    def settings(self) -> dict[str, Any]:
        """The keys that belong to the loss."""
        return dict(self.model_extra or {})

    @model_serializer(mode="wrap")
    def _short(self, handler: Any) -> dict[str, Any]:
        plain = without_defaults(self, handler(self), keep=("weight",))
        if plain.get("name") == self.loss:
            plain.pop("name")
        source = plain.pop("from", plain.pop("source", None))
        if source is not None:
            plain["from"] = source
        order = ("loss", "name", "of", "from", "to", "weight", "images", "features", "from_features")
        return {key: plain[key] for key in (*order, *plain) if key in plain}
