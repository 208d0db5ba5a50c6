"""Networks of a recipe: their architecture, and where their weights come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_serializer, model_validator

from preceptor.recipe.section import Fraction, Positive, Section, without_defaults

#: What shapes a network besides its backbone, and is part of what a run has trained.
_SHAPES = ("bottleneck", "map_channels", "dropout", "heads")


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


class NetworkConfig(Section):
    """One network: its architecture and where its weights come from.

    Either ``backbone`` (any timm name; ``pretrained`` is ``imagenet``, ``none`` or the path of a weights file), or
    ``run`` (a finished run, or a ``.safetensors`` file that a run wrote), or ``mean_of`` (the running average of
    another network with ``decay``; ``batch_norm: averaged`` averages the statistics too and teaches in evaluation
    mode, ``batch`` teaches with the statistics of the batch). ``trained_by`` trains it first, in a run of its own.
    ``frozen: true`` leaves it as it is, ``frozen: backbone`` trains its projection head alone, ``frozen: features`` its
    classifier alone (a linear probe).
    ``projection`` is a head for contrastive losses, which inference leaves out: a width for a linear one, ``mlp`` for
    two layers as wide as the embedding. ``bottleneck`` is the width of a linear layer before the classifier,
    ``map_channels`` that of a 1×1 convolution on the last feature map (Niyaz et al. 2024); inference keeps both.
    ``classifier_of`` names a frozen network whose last linear layer this one uses instead of its own, behind SimKD's
    projector of the last feature map (Chen et al. 2022); both belong to the network and to its cost.
    A frozen network with ``pretrained`` and neither ``run`` nor ``trained_by`` is a teacher of features: it has no
    classes. ``input_size`` is the side that it resizes images to, where that is another than the recipe's.
    ``heads`` names teachers that get a classifier of their own each, which learns from that teacher alone; the network
    predicts the mean of the classifiers' probabilities, which cross-entropy and evaluation see.
    ``calibrated`` divides the logits that objectives read of a frozen network by the temperature that minimises the
    negative log-likelihood of the validation part (Guo et al. 2017), fitted once, before the first epoch.
    """

    backbone: str | None = None
    pretrained: str = "none"
    projection: Positive | Literal["mlp"] | None = None
    bottleneck: Positive | None = None
    map_channels: Positive | None = None
    dropout: Fraction = 0.0
    heads: Annotated[tuple[str, ...], Field(strict=False)] = ()  # a tuple, so that networks are hashable
    classifier_of: str | None = None
    input_size: Positive | None = None
    frozen: bool | Literal["backbone", "features"] = False
    calibrated: bool = False
    run: str | None = None
    trained_by: TrainedBy | None = None
    mean_of: str | None = None
    decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    batch_norm: Literal["averaged", "batch"] | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> NetworkConfig:
        if self.mean_of is not None:
            given = [
                key for key in ("backbone", "run", "trained_by", "frozen", "projection", *_SHAPES) if getattr(self, key)
            ]
            if given or self.pretrained != "none":
                raise ValueError(
                    f"a network with mean_of is a copy of another: remove {', '.join(given) or 'pretrained'}"
                )
        elif self.decay is not None or self.batch_norm is not None:
            raise ValueError("decay and batch_norm belong to a network with mean_of")
        elif self.backbone is None and self.run is None:
            raise ValueError("needs a backbone (a timm name), a run (a finished run), or mean_of (a network's name)")
        if self.run is not None and (
            self.trained_by or self.pretrained != "none" or any(getattr(self, key) for key in _SHAPES)
        ):
            raise ValueError(
                f"a network from a run is as it was trained: remove pretrained, trained_by, {', '.join(_SHAPES)}"
            )
        if self.frozen == "backbone" and self.projection is None:
            raise ValueError("frozen: backbone trains the projection head: give projection, a width or mlp")
        pretrained = self.gives_features or (self.frozen == "features" and self.pretrained != "none")
        if self.frozen and not (self.run or self.trained_by or pretrained):
            raise ValueError("a frozen network must come from somewhere: give run=DIR, trained_by, or pretrained")
        if self.classifier_of is not None and (
            self.run or self.mean_of or self.frozen or self.bottleneck or self.map_channels or self.heads
        ):
            raise ValueError(
                "classifier_of goes with a backbone alone: remove run, mean_of, frozen, bottleneck, map_channels, heads"
            )
        if self.heads and (len(set(self.heads)) < max(len(self.heads), 2) or self.trained_by or self.frozen):
            raise ValueError("heads names two or more teachers, each once, of a network that starts from its backbone")
        if self.calibrated and (self.frozen is not True or self.gives_features):
            raise ValueError("calibrated fits a temperature to the logits of a frozen network with classes")
        if self.input_size is not None and not self.gives_features:
            raise ValueError("input_size belongs to a frozen network with pretrained weights; others see image_size")
        return self

    @property
    def gives_features(self) -> bool:
        """Whether it comes from pretrained weights as it is, without classes."""
        return (
            self.frozen is True
            and self.backbone is not None
            and self.pretrained != "none"
            and self.run is None
            and self.trained_by is None
        )

    @property
    def predicts_anew(self) -> bool:
        """Whether training changes its predictions."""
        return not self.frozen or self.frozen == "features"

    @property
    def has_own_file(self) -> bool:
        """Whether its run writes its weights to a file: a frozen network has one where it was trained."""
        return self.frozen is not True

    @property
    def learns(self) -> bool:
        """Whether the optimiser changes any of its weights."""
        return self.frozen is not True and self.mean_of is None

    @model_serializer(mode="wrap")
    def _short(self, handler: Any) -> dict[str, Any]:
        return without_defaults(self, handler(self), keep=("backbone",) if self.backbone else ())
