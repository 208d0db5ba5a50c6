"""A loss built from its own example, and what the clauses do with its inputs: tensors, lists of tensors, modules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.losses.registry import LossSpec
from preceptor.utils.randomness import generator

BATCH = 6  # images of an example

#: Feeds that do not have one entry for each image or view of it.
_NOT_PER_IMAGE = frozenset(
    {"views", "generator", "to.bank", "from.bank", "to.classifier", "from.classifier"},
)


@dataclass
class Trial:
    """A loss built from its example, with the inputs to call it on."""

    module: nn.Module
    inputs: dict[str, Any]

    def value(self) -> Tensor:
        return self.module(**self.inputs)


def trial(spec: LossSpec, *, batch: int = BATCH, seed: int = 0, start: int = 0) -> Trial:
    """``seed`` decides settings and inputs, ``start`` the module's own initial parameters."""
    settings, inputs = spec.example(generator(seed, "check_loss"), batch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start)
        return Trial(spec.module(**settings), inputs)


def critic_inputs(spec: LossSpec) -> dict[str, Any]:
    """What a critic sees: the example's inputs for the network that learns, those of another example for the other.

    Raises:
        AssertionError: ``critic_loss`` asks for what ``forward`` has of neither network.
    """
    examples = {"to": trial(spec).inputs, "from": trial(spec, seed=1).inputs}
    given = {feed.rpartition(".")[2]: argument for argument, feed in spec.feeds.items()}
    inputs: dict[str, Any] = {}
    for argument, feed in spec.critic.items():
        side, _, kind = feed.rpartition(".")
        if feed == "generator":
            inputs[argument] = generator(0, "critic")
            continue
        if kind not in given:
            raise AssertionError(f"the example has no {kind} to call critic_loss with")
        inputs[argument] = examples[side or "to"][given[kind]]
    return inputs


def leaves(inputs: dict[str, Any]) -> Iterator[tuple[str, str, Tensor]]:
    """(argument, label, tensor) for every floating-point tensor that could receive gradient.

    Labels are ``argument``, ``argument[index]`` of a list, ``argument.name`` of a module's parameters and buffers.
    """
    for argument, value in inputs.items():
        tensors: dict[str, Tensor] = {}
        if isinstance(value, nn.Module):
            own = {**dict(value.named_parameters()), **dict(value.named_buffers())}
            tensors = {f"{argument}.{name}": tensor for name, tensor in own.items()}
        elif isinstance(value, Tensor):
            tensors = {argument: value}
        elif isinstance(value, list):
            tensors = {f"{argument}[{index}]": tensor for index, tensor in enumerate(value)}
        yield from ((argument, label, tensor) for label, tensor in tensors.items() if tensor.is_floating_point())


def let_train(spec: LossSpec, inputs: dict[str, Any]) -> list[tuple[str, Tensor]]:
    """Ask for the gradient of what the loss may train; (label, tensor) of each."""
    trained = [(label, tensor) for argument, label, tensor in leaves(inputs) if argument in spec.trains]
    for _, tensor in trained:
        tensor.requires_grad_()
    return trained


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Floating-point tensors, those of lists and modules included, in another precision."""
    if isinstance(value, list):
        return [cast(item, dtype) for item in value]
    if isinstance(value, nn.Module):
        return value.to(dtype)
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def of_images(spec: LossSpec, inputs: dict[str, Any], images: Tensor) -> dict[str, Any]:
    """The inputs of some images; where there are several views of each, the same images of every block."""

    def chosen(value: Any) -> Any:
        if isinstance(value, list):
            return [chosen(item) for item in value]
        return value.unflatten(0, (-1, BATCH))[:, images].flatten(0, 1)

    return {name: value if spec.feeds[name] in _NOT_PER_IMAGE else chosen(value) for name, value in inputs.items()}


def exchanged(spec: LossSpec, name: str) -> Iterator[tuple[str, Trial]]:
    """(label, trial) with one input exchanged for another of its kind; of a list, one entry at a time."""
    other = trial(spec, seed=1).inputs[name]
    if not isinstance(other, list):
        changed = trial(spec)
        changed.inputs[name] = other
        yield name, changed
        return
    for index, tensor in enumerate(other):
        changed = trial(spec)
        changed.inputs[name] = [*changed.inputs[name][:index], tensor, *changed.inputs[name][index + 1 :]]
        yield f"{name}[{index}]", changed
