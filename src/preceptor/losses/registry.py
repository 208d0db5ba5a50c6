"""Registration of losses: what feeds a loss, what it may train, and an example to check it on.

A loss is an ordinary ``nn.Module`` whose ``forward`` takes tensors and returns a scalar; it works in any training loop.
The decorator only says where the engine finds the tensors, so nothing here knows the engine, recipes or networks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeVar

import torch
from torch import nn

from preceptor.losses.checks import with_checks
from preceptor.utils.registry import Registry

#: Where an argument of ``forward`` may come from. ``to`` is the network that learns (``of`` in a recipe with one
#: network), ``from`` the one it learns from. ``features`` is a list of tensors, one for each feature point of the
#: loss; ``classifier`` is the network's last linear layer, a module from embeddings to logits.
FEEDS = frozenset(
    f"{side}.{name}"
    for side in ("to", "from")
    for name in ("logits", "feature_map", "embedding", "projection", "features", "classifier", "bank")
) | {"labels", "label_matrix", "masks", "rows", "views", "generator"}

#: Feature points that a network may offer. Stages are taken after their last ReLU, ``_pre`` ones before it; the
#: decoder's are those of a U-Net, coarsest first.
FEATURE_POINTS = frozenset(
    ["stem", "tokens", "class_token", "penultimate"]
    + [f"stage{index}{suffix}" for index in range(1, 5) for suffix in ("", "_pre")]
    + [f"decoder{index}" for index in range(1, 6)]
)

#: Facts that an argument of ``__init__`` may ask for; the engine knows them before the first batch.
FACTS = frozenset(
    {
        "class_counts",  # (C,) images of each class in the training part
        "row_labels",  # (N,) class of each row of the training part
        "to.classes",  # C of the logits; of masks with the background
        "to.channels",  # K of the feature map
        "from.channels",
        "to.embedding",  # D of the embedding
        "from.embedding",
        "to.projection",  # d of the projection
        "from.projection",
        "to.feature_channels",  # tuple of the channels of the feature points
        "from.feature_channels",
        "batch_size",  # images of a full step, over all processes
    }
)

#: ``example(generator, batch)`` returns (arguments of ``__init__``, arguments of ``forward``).
Example = Callable[[torch.Generator, int], tuple[dict[str, Any], dict[str, Any]]]
L = TypeVar("L", bound=type[nn.Module])


@dataclass(frozen=True)
class LossSpec:
    """A registered loss.

    Attributes:
        name: what a recipe calls it.
        module: the class.
        feeds: argument of ``forward`` -> one of :data:`FEEDS`.
        trains: the arguments that may receive gradient; the engine detaches all others.
        facts: argument of ``__init__`` -> one of :data:`FACTS`, filled by the engine.
        relates_images: whether the value depends on the batch as a whole (pairs, batch-wide normalisers); then
            several processes gather their inputs, so that the loss is that of the global batch.
        compares_places: whether it compares two maps place by place, for which both networks have to receive the same
            view of an image.
        example: inputs to check it on.
        features: the feature points that ``to.features`` and ``from.features`` list, in this order, unless a recipe
            names others. Names from :data:`FEATURE_POINTS`.
        exceptions: clauses of the contract that the method cannot keep, each with the reason.
        critic: argument of the module's ``critic_loss`` -> one of :data:`FEEDS`; empty for a loss without a critic. A
            critic is a network that learns against the student, the submodule ``critic`` of the loss. The engine
            leaves its parameters out of the optimiser of networks and losses, and after that one's step calls
            ``critic_loss`` with the outputs of the same step, detached, and steps an optimiser of the critic's own.
            ``forward`` passes no gradient to the critic, and ``critic_loss`` none to anything else.
        per_label: whether two networks' logits are compared label by label (sigmoid), as several labels per image need,
            and not as one distribution over classes (softmax).
    """

    name: str
    module: type[nn.Module]
    feeds: Mapping[str, str]
    trains: tuple[str, ...]
    facts: Mapping[str, str]
    relates_images: bool
    example: Example
    compares_places: bool = False
    features: tuple[str, ...] = ()
    exceptions: Mapping[str, str] = field(default_factory=dict)
    critic: Mapping[str, str] = field(default_factory=dict)
    per_label: bool = False

    @property
    def tells_views_apart(self) -> bool:
        """Whether it receives all V views of each image, the upright ones first, and V itself."""
        return "views" in self.feeds.values()

    @property
    def needs_source(self) -> bool:
        """Whether a recipe must name a network to learn ``from``."""
        sources = (*self.feeds.values(), *self.critic.values(), *self.facts.values())
        return any(source.startswith("from.") for source in sources)

    def settings(self) -> dict[str, inspect.Parameter]:
        """The arguments of ``__init__`` that a recipe may set."""
        arguments = inspect.signature(self.module.__init__).parameters
        several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)  # of nn.Module's own __init__
        return {
            name: argument
            for name, argument in arguments.items()
            if name != "self" and name not in self.facts and argument.kind not in several
        }


def _load_ours() -> None:
    package = import_module("preceptor.losses")
    for module in iter_modules(package.__path__):
        import_module(f"preceptor.losses.{module.name}")


LOSSES: Registry[LossSpec] = Registry("loss", "preceptor.losses", _load_ours)


def register_loss(
    name: str,
    *,
    feeds: Mapping[str, str],
    trains: tuple[str, ...],
    example: Example,
    facts: Mapping[str, str] | None = None,
    relates_images: bool = False,
    compares_places: bool = False,
    features: tuple[str, ...] = (),
    exceptions: Mapping[str, str] | None = None,
    critic: Mapping[str, str] | None = None,
    per_label: bool = False,
) -> Callable[[L], L]:
    """Class decorator that registers a loss under ``name``; see :class:`LossSpec` for the arguments.

    ``forward`` then checks the shapes, devices and types of its inputs (:mod:`preceptor.losses.checks`).

    Raises:
        ValueError: a feed, fact or feature point that no engine offers, an argument that ``forward`` or ``__init__``
            lacks, or feature points without a feed that lists them.
    """
    facts = dict(facts or {})

    def decorate(module: L) -> L:
        _check("feeds", name, feeds, FEEDS, inspect.signature(module.forward).parameters)
        _check("facts", name, facts, FACTS, inspect.signature(module.__init__).parameters)
        if critic:
            _check("critic", name, critic, FEEDS, inspect.signature(getattr(module, "critic_loss")).parameters)  # noqa: B009
        if not set(trains) <= set(feeds):
            raise ValueError(f"loss {name!r}: trains {trains} must be among feeds {tuple(feeds)}")
        _check_features(name, features, {*feeds.values(), *facts.values()})
        spec = LossSpec(
            name,
            module,
            dict(feeds),
            tuple(trains),
            facts,
            relates_images,
            example,
            compares_places,
            tuple(features),
            dict(exceptions or {}),
            dict(critic or {}),
            per_label,
        )
        LOSSES.add(name, spec, module)
        with_checks(module, spec)
        return module

    return decorate


def _check(
    what: str, name: str, given: Mapping[str, str], offered: frozenset[str], arguments: Mapping[str, object]
) -> None:
    for argument, source in given.items():
        if source not in offered:
            raise ValueError(f"loss {name!r}: {what} {source!r} is not one of {sorted(offered)}")
        if argument not in arguments:
            raise ValueError(f"loss {name!r}: {what} names {argument!r}, which its signature lacks")


def _check_features(name: str, features: tuple[str, ...], sources: set[str]) -> None:
    unknown = sorted(set(features) - FEATURE_POINTS)
    if unknown:
        raise ValueError(f"loss {name!r}: features {unknown} are not among {sorted(FEATURE_POINTS)}")
    listed = any(source.endswith((".features", ".feature_channels")) for source in sources)
    if listed != bool(features):
        raise ValueError(f"loss {name!r}: a feed of features and the names of the feature points go together")
