"""What a recipe may say: networks, the views they see, and a weighted sum of objectives between them.

The schema is strict: an unknown key or a wrong type ends in one error that names the key and what was expected.
Nothing here knows how a recipe is run.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from preceptor.data.policy import POLICIES, Policy
from preceptor.errors import did_you_mean

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A part of a recipe: unknown keys and wrong types are refused, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True, allow_inf_nan=False)


class TrainedBy(Section):
    """A run that makes a network before this one starts: a recipe's name, and what to set in it.

    Data, fold, seed, image size, batch size, epochs and the network's backbone and start are handed on.
    """

    recipe: str
    set: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"recipe": value} if isinstance(value, str) else value

    @model_serializer(mode="wrap")
    def _short(self, handler: Any) -> Any:
        return handler(self) if self.set else self.recipe


class Network(Section):
    """One network: its architecture and where its weights come from.

    Either ``backbone`` (any timm name; ``pretrained`` is ``imagenet``, ``none`` or the path of a weights file), or
    ``run`` (a finished run, or a ``.safetensors`` file that a run wrote), or ``mean_of`` (the running average of
    another network with ``decay``; ``batch_norm: averaged`` averages the statistics too and teaches in evaluation
    mode, ``batch`` teaches with the statistics of the batch). ``trained_by`` trains it first, in a run of its own.
    ``projection`` is the width of a head for contrastive losses, which inference leaves out; ``bottleneck`` that of a
    linear layer before the classifier, which it keeps.
    """

    backbone: str | None = None
    pretrained: str = "none"
    projection: Positive | None = None
    bottleneck: Positive | None = None
    dropout: Fraction = 0.0
    frozen: bool = False
    run: str | None = None
    trained_by: TrainedBy | None = None
    mean_of: str | None = None
    decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    batch_norm: Literal["averaged", "batch"] | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Network:
        if self.mean_of is not None:
            given = [
                key
                for key in ("backbone", "run", "trained_by", "frozen", "projection", "bottleneck", "dropout")
                if getattr(self, key)
            ]
            if given or self.pretrained != "none":
                raise ValueError(
                    f"a network with mean_of is a copy of another: remove {', '.join(given) or 'pretrained'}"
                )
        elif self.decay is not None or self.batch_norm is not None:
            raise ValueError("decay and batch_norm belong to a network with mean_of")
        elif self.backbone is None and self.run is None:
            raise ValueError("needs a backbone (a timm name), a run (a finished run), or mean_of (a network's name)")
        if self.run is not None and (self.trained_by or self.pretrained != "none" or self.dropout or self.bottleneck):
            raise ValueError(
                "a network from a run is as it was trained: remove pretrained, trained_by, dropout and bottleneck"
            )
        if self.frozen and not (self.run or self.trained_by):
            raise ValueError("a frozen network must come from somewhere: give run=DIR or trained_by")
        return self

    @property
    def learns(self) -> bool:
        """Whether the optimiser changes its weights."""
        return not self.frozen and self.mean_of is None

    @model_serializer(mode="wrap")
    def _short(self, handler: Any) -> dict[str, Any]:
        return _without_defaults(self, handler(self), keep=("backbone",) if self.backbone else ())


class View(Section):
    """What a network sees of an image: one draw from a policy (a name or its settings), or another network's draw."""

    policy: str | Policy | None = None
    same_as: str | None = None

    @field_validator("policy", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in POLICIES:
            raise ValueError(
                f"no policy is called {value!r}.{did_you_mean(value, POLICIES)} Known: {', '.join(POLICIES)}"
            )
        return value

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if not isinstance(value, (str, dict, View)):
            raise ValueError(f"is {value!r}; expected a policy's name, or a mapping with policy or same_as")
        return {"policy": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one(self) -> View:
        if (self.policy is None) == (self.same_as is None):
            raise ValueError("needs either policy or same_as")
        return self

    @model_serializer(mode="wrap")
    def _short(self, handler: Any) -> Any:
        return self.policy if isinstance(self.policy, str) else _without_defaults(self, handler(self))

    def resolved(self) -> Policy:
        """The policy itself. Only for a view that has one of its own."""
        assert self.policy is not None
        return POLICIES[self.policy] if isinstance(self.policy, str) else self.policy


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
        return _without_defaults(self, handler(self))


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

    ``of`` is the network that learns where there is only one, ``to`` where it learns from another. Every other key
    is a setting of the loss. ``name`` (the loss's own unless given) is what history and overrides call it.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, populate_by_name=True, allow_inf_nan=False)

    loss: str
    name: str = ""
    of: str | None = None
    source: str | None = Field(default=None, alias="from")
    to: str | None = None
    weight: Weight = 1.0

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
        said = _without_defaults(self, handler(self), keep=("weight",))
        if said.get("name") == self.loss:
            said.pop("name")
        source = said.pop("from", said.pop("source", None))
        if source is not None:
            said["from"] = source
        order = ("loss", "name", "of", "from", "to", "weight")
        return {key: said[key] for key in (*order, *said) if key in said}


class Adam(Section):
    """Adam with L2 weight decay, as torch.optim.Adam."""

    name: Literal["adam"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)] = [0.9, 0.999]
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


class Split(Section):
    """Folds: ``folds`` parts, of which one is the test part; ``validation`` is a share of the rest."""

    folds: Annotated[int, Field(ge=2)] = 5
    validation: Annotated[float, Field(gt=0, le=0.5)] = 0.125
    seed: Annotated[int, Field(ge=0)] = 0


class Select(Section):
    """Which network's validation metric chooses the epoch (and drives plateau and early stop)."""

    network: str = "student"
    metric: Literal["balanced_accuracy", "accuracy", "macro_f1", "macro_auc", "macro_average_precision"] = (
        "balanced_accuracy"
    )


class Recipe(Section):
    """A method, wholly said: what ``preceptor recipes show`` prints, every run stores and the engine runs.

    ``protocol: grouped`` keeps lesions and patients together, selects on a validation part and reads the test part
    once. ``protocol: paper`` splits by image, has no validation part and reports the mean of the last ten epochs on
    the test part, as several papers did; its figures are optimistic and every report says so.
    """

    name: str
    paper: str = ""
    task: Literal["classification"] = "classification"
    protocol: Literal["grouped", "paper"] = "grouped"
    image_size: Annotated[int, Field(ge=16)] = 224
    batch_size: Annotated[int, Field(ge=2)] = 32
    epochs: Positive = 60
    seed: Annotated[int, Field(ge=0)] = 0
    precision: Literal["auto", "32", "bf16"] = "auto"
    networks: dict[str, Network]
    views: dict[str, View]
    objectives: list[Objective]
    optimiser: Annotated[Adam | SGD, Field(discriminator="name")] = Adam()
    schedule: Annotated[OneCycle | Plateau | Constant, Field(discriminator="name")] = OneCycle()
    split: Split = Split()
    select: Select = Select()
    early_stop: Positive | None = None

    @field_validator("precision", mode="before")
    @classmethod
    def _number_or_text(cls, value: Any) -> Any:
        return "32" if type(value) is int and value == 32 else value  # YAML reads precision: 32 as a number

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        networks = list(self.networks)
        for name, network in self.networks.items():
            if not name.isidentifier():
                raise ValueError(f"networks: {name!r} is not a name (letters, digits and _)")
            if network.mean_of is not None:
                self._must_know(f"networks.{name}.mean_of", network.mean_of, networks)
                if not self.networks[network.mean_of].learns:
                    raise ValueError(f"networks.{name}.mean_of: {network.mean_of!r} does not learn, its mean is itself")
            if name not in self.views:
                raise ValueError(f"views: says nothing of {name!r}; give a policy, or same_as another network")
        for name, view in self.views.items():
            self._must_know(f"views.{name}", name, networks)
            if view.same_as is not None:
                self._must_know(f"views.{name}.same_as", view.same_as, networks)
                if self.views[view.same_as].policy is None:
                    raise ValueError(f"views.{name}.same_as: {view.same_as!r} has no draw of its own")
        self._check_objectives(networks)
        self._must_know("select.network", self.select.network, networks)
        if self.protocol == "paper" and (self.early_stop or isinstance(self.schedule, Plateau)):
            raise ValueError("protocol: paper has no validation part, so early_stop and schedule plateau cannot work")
        return self

    def _check_objectives(self, networks: list[str]) -> None:
        names = [objective.name for objective in self.objectives]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"objectives: {', '.join(sorted(twice))} occurs twice; give each a name of its own")
        for objective in self.objectives:
            if not objective.name.isidentifier():
                raise ValueError(f"objectives: {objective.name!r} is not a name (letters, digits and _)")
            for key in ("of", "source", "to"):
                if getattr(objective, key) is not None:
                    place = f"objectives.{objective.name}.{'from' if key == 'source' else key}"
                    self._must_know(place, getattr(objective, key), networks)
            if self.networks[objective.learner].frozen:
                raise ValueError(f"objectives.{objective.name}: {objective.learner!r} is frozen and cannot learn")
        idle = {n for n in networks if self.networks[n].learns} - {o.learner for o in self.objectives}
        if idle:
            raise ValueError(f"objectives: nothing trains {', '.join(sorted(idle))}; add an objective or freeze it")

    @staticmethod
    def _must_know(key: str, name: str, known: list[str]) -> None:
        if name not in known:
            raise ValueError(
                f"{key}: there is no network {name!r}.{did_you_mean(name, known)} Networks: {', '.join(known)}"
            )

    def plain(self) -> dict[str, Any]:
        """As YAML writes it: plain dicts, lists, strings and numbers; validating it again gives an equal recipe."""
        said = self.model_dump(by_alias=True)
        if self.early_stop is None:
            said.pop("early_stop")
        return said


def _without_defaults(section: BaseModel, said: dict[str, Any], keep: tuple[str, ...] = ()) -> dict[str, Any]:
    fields = type(section).model_fields
    return {
        key: value
        for key, value in said.items()
        if key in keep
        or key not in fields
        or getattr(section, key) != fields[key].get_default(call_default_factory=True)
    }
