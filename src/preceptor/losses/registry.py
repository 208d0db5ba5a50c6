"""How a loss makes itself known: what feeds it, what it may train, and an example to try it on.

A loss is an ordinary ``nn.Module`` whose ``forward`` takes tensors and returns a scalar; it works in anybody's loop.
The decorator only says where the engine finds the tensors, so nothing here knows the engine, recipes or networks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeVar

import torch
from torch import nn

from preceptor.utils.registry import Registry

#: Where an argument of ``forward`` may come from. ``to`` is the network that learns (``of`` in a recipe with one
#: network), ``from`` the one it learns from.
FEEDS = frozenset(
    f"{side}.{name}" for side in ("to", "from") for name in ("logits", "feature_map", "embedding", "projection")
) | {"labels", "masks", "rows", "views", "generator", "to.bank", "from.bank"}

#: Facts that an argument of ``__init__`` may ask for; the engine knows them before the first batch.
FACTS = frozenset(
    {
        "class_counts",  # (C,) images of each class in the training part
        "row_labels",  # (N,) class of each row of the training part
        "to.channels",  # K of the feature map
        "from.channels",
        "to.embedding",  # D of the embedding
        "from.embedding",
        "to.projection",  # d of the projection
        "from.projection",
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
        compares_places: whether it holds two maps against each other place by place, which says something only where
            both networks see an image in the same position.
        example: inputs to try it on.
    """

    name: str
    module: type[nn.Module]
    feeds: Mapping[str, str]
    trains: tuple[str, ...]
    facts: Mapping[str, str]
    relates_images: bool
    example: Example
    compares_places: bool = False

    @property
    def tells_views_apart(self) -> bool:
        """Whether it is shown all V views of each image, the upright ones first, and told V."""
        return "views" in self.feeds.values()

    @property
    def needs_source(self) -> bool:
        """Whether a recipe must name a network to learn ``from``."""
        return any(feed.startswith("from.") for feed in (*self.feeds.values(), *self.facts.values()))

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
) -> Callable[[L], L]:
    """Class decorator that registers a loss under ``name``; see :class:`LossSpec` for the arguments.

    Raises:
        ValueError: a feed or fact that no engine offers, or an argument that ``forward`` or ``__init__`` lacks.
    """
    facts = dict(facts or {})

    def decorate(module: L) -> L:
        _check("feeds", name, feeds, FEEDS, inspect.signature(module.forward).parameters)
        _check("facts", name, facts, FACTS, inspect.signature(module.__init__).parameters)
        if not set(trains) <= set(feeds):
            raise ValueError(f"loss {name!r}: trains {trains} must be among feeds {tuple(feeds)}")
        spec = LossSpec(name, module, dict(feeds), tuple(trains), facts, relates_images, example, compares_places)
        LOSSES.add(name, spec)
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
