"""What a recipe may say: networks, the views they see, and a weighted sum of objectives between them.

The schema is strict: an unknown key or a wrong type ends in one error that names the key and what was expected.
Nothing here knows how a recipe is run.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_serializer, model_validator

from preceptor.recipe.forward_mode import ForwardMode, Precision
from preceptor.recipe.network import NetworkConfig, TrainedBy
from preceptor.recipe.objective import Objective, Ramp, Steps
from preceptor.recipe.optimisation import (
    SGD,
    Adam,
    AdamW,
    Constant,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Plateau,
)
from preceptor.recipe.section import Fraction, Name, Positive, Section, default_of, without_defaults
from preceptor.recipe.view import View
from preceptor.utils.errors import did_you_mean

__all__ = [
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Exponential",
    "ForwardMode",
    "Fraction",
    "MultiStep",
    "NetworkConfig",
    "Objective",
    "OneCycle",
    "Plateau",
    "Positive",
    "Ramp",
    "Recipe",
    "SGD",
    "Section",
    "Select",
    "Split",
    "Steps",
    "TrainedBy",
    "View",
]


class Split(Section):
    """Folds: ``folds`` parts, of which one is the test part; ``validation`` is a share of the rest.

    The share is met to about a hundredth, as one or several of at most 20 equal parts, where the data bear so many.

    ``source: prescribed`` takes the parts that the data set's publisher prescribes, ``folds`` ignores them, and
    ``auto`` takes them where there are any.
    """

    source: Literal["auto", "folds", "prescribed"] = "auto"
    folds: Annotated[int, Field(ge=2)] = 5
    validation: Annotated[float, Field(gt=0, le=0.5)] = 0.125
    seed: Annotated[int, Field(ge=0)] = 0


_RARE = (
    "drop_last",
    "unlabelled",
    "critic_optimiser",
    "batch_norm",
    "early_stop",
    "resample",
    "ensembles",
    "teacher_cache",
    "class_groups",
)
Resample = Literal["none", "over", "under", "balanced"]


class Select(Section):
    """Which network's validation metric chooses the epoch, and drives plateau and early stop; ``last`` chooses none.

    ``metric`` is any metric of the recipe's task, in its own direction (the smallest calibration error is the best); of
    several networks it is their mean. ``epoch: each`` keeps, of every network that learns, the epoch that is its own
    best by that metric, whichever the others' is; the mean still drives plateau and early stop.
    """

    network: str | Annotated[list[str], Field(min_length=1)] = "student"
    metric: str = "balanced_accuracy"
    epoch: Literal["joint", "each"] = "joint"

    @property
    def networks(self) -> list[str]:
        return [self.network] if isinstance(self.network, str) else self.network

    @model_serializer(mode="wrap")
    def _short(self, handler: Any) -> dict[str, Any]:
        return without_defaults(self, handler(self), keep=("network", "metric"))


class Recipe(Section):
    """The complete specification of a method: printed by ``preceptor recipes show``, stored in every run.

    ``protocol: grouped`` keeps lesions and patients together, selects on a validation part and reads the test part
    once. ``protocol: paper`` splits by image, has no validation part and reports the mean of the last ten epochs on
    the test part, as several papers did; its figures are optimistic and every report says so.

    ``task`` names what networks predict (``preceptor.tasks``): ``segmentation`` makes every network a U-Net on its
    backbone, and its classes those of the masks.
    ``unlabelled`` trains on images without a label too, those of no patient who is validated or tested on, for
    objectives that read no labels.
    ``drop_last`` leaves the last, smaller batch of an epoch out, for losses whose weights depend on the batch size.
    ``resample`` draws the training images of an epoch so that classes are equally frequent: each as often as the
    largest (``over``), the smallest (``under``) or the mean (``balanced``). ``ensembles`` names groups of networks
    whose joint prediction is evaluated beside their own: the class-wise maximum of probabilities, the union of masks.
    ``class_groups`` names classes that are judged together (``malignant: [mel, bcc]``); networks
    are trained without it, so that a study's finished runs are not trained again when it changes.
    ``batch_norm: synchronised`` lets several processes take batch statistics over the whole batch, as one process does,
    at the cost of two exchanges per layer. ``critic_optimiser`` trains the critics of adversarial losses (the holistic
    term of SKD), at a constant rate.
    ``precision`` is one mode for all networks (``bf16`` is autocast, ``float32+graphed`` launches the kernels of a pass
    together, on a GPU), a mode for some of them (``{teacher: bf16+folded}``, the others run in float32), or ``auto``,
    which times the modes on the machine and keeps the fastest whose outputs agree.
    ``teacher_cache`` keeps what frozen networks give of each view of each image, in at most so many GiB of memory a
    process, so that it is computed once; for views from a fixed set (``plain``, or policies that only mirror and turn).
    """

    name: Name
    paper: str = ""
    task: str = "classification"
    protocol: Literal["grouped", "paper"] = "grouped"
    image_size: Annotated[int, Field(ge=16)] = 224
    batch_size: Annotated[int, Field(ge=2)] = 32
    drop_last: bool = False
    unlabelled: bool = False
    epochs: Positive = 60
    seed: Annotated[int, Field(ge=0)] = 0
    precision: Precision = "float32"
    networks: dict[str, NetworkConfig]
    views: dict[str, View]
    objectives: list[Objective]
    optimiser: Annotated[Adam | AdamW | SGD, Field(discriminator="name")] = Adam()
    schedule: Annotated[
        OneCycle | Cosine | MultiStep | Exponential | Plateau | Constant, Field(discriminator="name")
    ] = OneCycle()
    critic_optimiser: Annotated[Adam | AdamW | SGD, Field(discriminator="name")] = Adam(lr=4e-4, betas=[0.9, 0.99])
    split: Split = Split()
    select: Select = Select()
    batch_norm: Literal["per_process", "synchronised"] = "per_process"
    early_stop: Positive | None = None
    resample: Resample = "none"
    teacher_cache: Annotated[float, Field(gt=0)] | None = None
    ensembles: dict[str, Annotated[list[str], Field(min_length=2)]] = Field(default_factory=dict)
    class_groups: dict[Name, Annotated[list[str], Field(min_length=1)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        networks = list(self.networks)
        self._check_networks(networks)
        self._check_views(networks)
        self._check_objectives(networks)
        self._check_precision(networks)
        self._check_teacher_cache()
        self._check_rates(networks)
        self._check_selection(networks)
        self._check_ensembles(networks)
        self._check_protocol()
        return self

    def _check_networks(self, networks: list[str]) -> None:
        for name, network in self.networks.items():
            if not name.isidentifier():
                raise ValueError(f"networks: {name!r} is not a name (letters, digits and _)")
            if network.mean_of is not None:
                self._must_know(f"networks.{name}.mean_of", network.mean_of, networks)
                if not self.networks[network.mean_of].learns:
                    raise ValueError(f"networks.{name}.mean_of: {network.mean_of!r} does not learn, its mean is itself")
            if network.classifier_of is not None:
                self._must_know(f"networks.{name}.classifier_of", network.classifier_of, networks)
                if self.networks[network.classifier_of].frozen is not True:
                    raise ValueError(f"networks.{name}.classifier_of: {network.classifier_of!r} is not frozen")
            for teacher in network.heads:
                self._must_know(f"networks.{name}.heads", teacher, networks)
                if not any(teacher in objective.sources and objective.to == name for objective in self.objectives):
                    raise ValueError(f"networks.{name}.heads: no objective leads from {teacher} to {name}")
            if network.calibrated and self.protocol == "paper":
                raise ValueError(f"networks.{name}.calibrated: protocol paper has no validation part to fit it on")
            if name not in self.views:
                raise ValueError(f"views: says nothing of {name!r}; give a policy, or same_as another network")

    def _check_views(self, networks: list[str]) -> None:
        for name, view in self.views.items():
            self._must_know(f"views.{name}", name, networks)
            if view.same_as is not None:
                self._must_know(f"views.{name}.same_as", view.same_as, networks)
                if self.views[view.same_as].policy is None:
                    raise ValueError(f"views.{name}.same_as: {view.same_as!r} has no draw of its own")

    def _check_rates(self, networks: list[str]) -> None:
        for name in self.optimiser.network_lr:
            self._must_know(f"optimiser.network_lr.{name}", name, networks)
            if not self.networks[name].learns:
                raise ValueError(f"optimiser.network_lr.{name}: this network does not learn; leave it out")

    def _check_selection(self, networks: list[str]) -> None:
        for name in self.select.networks:
            self._must_know("select.network", name, networks)
            if self.networks[name].gives_features:
                raise ValueError(f"select.network: {name!r} has no classes, so that no metric can choose by it")

    def _check_ensembles(self, networks: list[str]) -> None:
        for name, members in self.ensembles.items():
            if not name.isidentifier() or name in networks:
                raise ValueError(f"ensembles: {name!r} is not a name, or is a network's")
            for member in members:
                self._must_know(f"ensembles.{name}", member, networks)
                if self.networks[member].gives_features:
                    raise ValueError(f"ensembles.{name}: {member!r} has no classes")
            if twice := [member for member in dict.fromkeys(members) if members.count(member) > 1]:
                raise ValueError(f"ensembles.{name}: names {', '.join(twice)} twice; each network counts once")

    def _check_protocol(self) -> None:
        """What needs a validation part, or patients kept apart, or a metric of each epoch."""
        if self.unlabelled and (self.protocol == "paper" or self.resample != "none"):
            what = "protocol: paper keeps no patient apart" if self.protocol == "paper" else "resample needs classes"
            raise ValueError(f"unlabelled: {what}; set unlabelled to false")
        if self.protocol == "paper" and (self.early_stop or isinstance(self.schedule, Plateau)):
            raise ValueError("protocol: paper has no validation part, so early_stop and schedule plateau cannot work")
        if self.select.epoch == "each" and (self.protocol == "paper" or self.select.metric == "last"):
            raise ValueError("select.epoch: each needs a metric of a validation part; set it to joint")
        if self.select.metric == "last" and (self.early_stop or isinstance(self.schedule, Plateau)):
            raise ValueError("select.metric: last judges no epoch, so early_stop and schedule plateau cannot work")

    def _check_objectives(self, networks: list[str]) -> None:
        names = [objective.name for objective in self.objectives]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"objectives: {', '.join(sorted(twice))} occurs twice; give each a name of its own")
        for objective in self.objectives:
            if not objective.name.isidentifier():
                raise ValueError(f"objectives: {objective.name!r} is not a name (letters, digits and _)")
            named = [("of", objective.of), *(("from", name) for name in objective.sources), ("to", objective.to)]
            for key, name in named:
                if name is not None:
                    self._must_know(f"objectives.{objective.name}.{key}", name, networks)
            if self.networks[objective.learner].frozen is True:
                raise ValueError(f"objectives.{objective.name}: {objective.learner!r} is frozen and cannot learn")
            sides = {self.transforms(name) for name in (*objective.sources, objective.learner)}
            if objective.images == "all" and len(sides) > 1:
                raise ValueError(
                    f"objectives.{objective.name}.images: {', '.join(objective.sources)} and {objective.learner} do "
                    "not see the same views; make one same_as the other"
                )
        idle = {n for n in networks if self.networks[n].learns} - {o.learner for o in self.objectives}
        if idle:
            raise ValueError(f"objectives: nothing trains {', '.join(sorted(idle))}; add an objective or freeze it")

    def _check_precision(self, networks: list[str]) -> None:
        if isinstance(self.precision, str):
            return
        for name, mode in self.precision.items():
            self._must_know(f"precision.{name}", name, networks)
            if ForwardMode.parse(mode).folded and self.networks[name].frozen is not True:
                raise ValueError(
                    f"precision.{name}: {mode!r} folds batch norms, and those of {name!r} change; leave +folded out"
                )

    def _check_teacher_cache(self) -> None:
        if self.teacher_cache is None:
            return
        frozen = [name for name, network in self.networks.items() if network.frozen is True]
        if not frozen:
            raise ValueError("teacher_cache: no network is frozen, and outputs of others change; leave it out")
        for name in frozen:
            source = self.draw(name)
            if self.mixup(name) is not None or not self.views[source].fixed:
                raise ValueError(
                    f"teacher_cache: {name!r} sees random views (views.{source}), never the same twice; set it to "
                    "plain or to a policy that only mirrors and turns, or leave teacher_cache out"
                )

    def mode(self, network: str) -> ForwardMode:
        """Return how a network's passes are computed; under ``precision: auto``, in float32 until modes were timed."""
        if isinstance(self.precision, dict):
            return ForwardMode.parse(self.precision.get(network, "float32"))
        return ForwardMode() if self.precision == "auto" else ForwardMode.parse(self.precision)

    def teachers_of(self, network: str) -> tuple[str, ...]:
        """The networks that a network learns from, each once."""
        own = [objective for objective in self.objectives if objective.learner == network]
        return tuple(dict.fromkeys(name for objective in own for name in objective.sources))

    @property
    def references(self) -> tuple[str, ...]:
        """The networks whose predictions the others' are compared with: those that teach and are not taught.

        Empty if no network with classes teaches, or if all that do also learn from one another.
        """
        taught = {objective.learner for objective in self.objectives if objective.sources}
        teachers = dict.fromkeys(name for objective in self.objectives for name in objective.sources)
        return tuple(name for name in teachers if name not in taught and not self.networks[name].gives_features)

    @property
    def reference(self) -> str | None:
        """The first of :attr:`references`, None where there are none."""
        return next(iter(self.references), None)

    def draw(self, network: str) -> str:
        """Whose draw of a view a network sees: its own, or that of another network."""
        return self.views[network].same_as or network

    def mixup(self, network: str) -> float | None:
        """Return α of the mixup in what a network sees."""
        return self.views[self.draw(network)].mixup

    @staticmethod
    def _must_know(key: str, name: str, known: list[str]) -> None:
        if name not in known:
            raise ValueError(
                f"{key}: there is no network {name!r}.{did_you_mean(name, known)} Networks: {', '.join(known)}"
            )

    def transforms(self, network: str) -> tuple[str, ...]:
        """What a network sees of each image besides the upright view."""
        view = self.views[network]
        return tuple((self.views[view.same_as] if view.same_as else view).extra_transforms or ())

    def plain(self) -> dict[str, Any]:
        """As YAML writes it: plain dicts, lists, strings and numbers; validating it again gives an equal recipe."""
        plain = self.model_dump(by_alias=True)
        for key in _RARE:
            if getattr(self, key) == default_of(type(self).model_fields[key]):
                plain.pop(key)
        return plain
