"""Terms of the loss, and how their weights move over the epochs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, field_validator, model_serializer, model_validator

from preceptor.recipe.section import Positive, Section, without_defaults


class Ramp(Section):
    """A weight that grows from about 0 to ``to`` over ``epochs`` epochs after ``start`` (0 before it).

    ``gaussian`` is to·exp(-5(1-t/epochs)²), the usual ramp of mean teachers; ``linear`` is to·t/epochs.
    """

    ramp: Literal["gaussian", "linear"]
    epochs: Positive
    to: float = 1.0
    start: Annotated[int, Field(ge=0)] = 0

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

    ``of`` is the network that learns where there is only one, ``to`` where it learns from another. ``name`` (the
    loss's own unless given) is what history and overrides call it. ``images`` says which views it looks at where
    there are several of an image: the ``upright`` ones (unless told otherwise) or ``all``. Every other key is a
    setting of the loss.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, populate_by_name=True, allow_inf_nan=False)

    loss: str
    name: str = ""
    of: str | None = None
    source: str | None = Field(default=None, alias="from")
    to: str | None = None
    weight: Weight = 1.0
    images: Literal["upright", "all"] | None = None

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
        return self

    @property
    def learner(self) -> str:
        name = self.to or self.of
        assert name is not None
        return name

    @property
    def settings(self) -> dict[str, Any]:
        """The keys that belong to the loss."""
        return dict(self.model_extra or {})

    @model_serializer(mode="wrap")
    def _short(self, handler: Any) -> dict[str, Any]:
        said = without_defaults(self, handler(self), keep=("weight",))
        if said.get("name") == self.loss:
            said.pop("name")
        source = said.pop("from", said.pop("source", None))
        if source is not None:
            said["from"] = source
        order = ("loss", "name", "of", "from", "to", "weight", "images")
        return {key: said[key] for key in (*order, *said) if key in said}
