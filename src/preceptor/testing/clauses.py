"""The clauses of the contract, each a function of a loss's registration that raises where it is broken."""

from __future__ import annotations

import copy
import dis
import inspect
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.losses.registry import LossSpec
from preceptor.testing.sample import BATCH, cast, critic_inputs, exchanged, leaves, let_train, of_images, trial
from preceptor.utils.randomness import generator

Clause = Callable[[LossSpec], None]
CLAUSES: dict[str, Clause] = {}


def _require(kept: bool, otherwise: str) -> None:
    if not kept:
        raise AssertionError(otherwise)


def _clause(check: Clause) -> Clause:
    CLAUSES[check.__name__] = check
    return check


def _close(left: Tensor, right: Tensor, tolerance: float) -> bool:
    return torch.allclose(left.double(), right.double(), rtol=tolerance, atol=tolerance * 1e-2)


@_clause
def example_is_complete(spec: LossSpec) -> None:
    """The example gives every fact and every feed, and nothing in the signatures is left unnamed."""
    settings, inputs = spec.example(generator(0, "check_loss"), BATCH)
    _require(set(inputs) == set(spec.feeds), f"inputs {sorted(inputs)} differ from feeds {sorted(spec.feeds)}")
    lacking = sorted(set(spec.facts) - set(settings))
    _require(not lacking, f"facts {lacking} are not in the example")
    unknown = set(settings) - set(inspect.signature(spec.module.__init__).parameters)
    _require(not unknown, f"settings {sorted(unknown)} are not arguments of __init__")
    for name, argument in inspect.signature(spec.module.forward).parameters.items():
        optional = argument.default is not argument.empty or argument.kind in (
            argument.VAR_POSITIONAL,
            argument.VAR_KEYWORD,
        )
        _require(name == "self" or name in spec.feeds or optional, f"nothing feeds {name!r} of forward")


@_clause
def facts_are_used(spec: LossSpec) -> None:
    """``__init__`` reads every fact that it asks for."""
    read = {str(step.argval) for step in dis.get_instructions(inspect.unwrap(spec.module.__init__))}
    for fact in spec.facts:
        _require(any(fact in names for names in read), f"__init__ never reads {fact!r}")


@_clause
def names_its_source(spec: LossSpec) -> None:
    """The class's docstring says where the formula is from: authors and year."""
    year = re.search(r"\b(19|20)\d\d\b", spec.module.__doc__ or "")
    _require(year is not None, "the docstring names no source (authors and year)")


@_clause
def value_is_a_finite_scalar(spec: LossSpec) -> None:
    """A float32 scalar, finite."""
    value = trial(spec).value()
    _require(value.shape == (), f"the value has shape {tuple(value.shape)}, not ()")
    _require(value.dtype == torch.float32, f"the value is {value.dtype}, not float32")
    _require(bool(value.isfinite()), f"the value is {value.item()}")


@_clause
def keeps_double(spec: LossSpec) -> None:
    """float64 inputs give a float64 value, the same as in float32 but for rounding."""
    single, double = trial(spec), trial(spec)
    double.module.double()
    double.inputs = {name: cast(value, torch.float64) for name, value in double.inputs.items()}
    value = double.value()
    _require(value.dtype == torch.float64, f"float64 inputs give {value.dtype}")
    _require(_close(single.value(), value, 1e-3), f"{value.item()} in float64, {single.value().item()} in float32")


@_clause
def gradient_reaches_what_it_trains(spec: LossSpec) -> None:
    """A finite gradient that is not zero for every argument in ``trains`` and every parameter; none for others.

    The parameters of a critic have a clause of their own.
    """
    built = trial(spec)
    tensors = list(leaves(built.inputs))
    for _, _, tensor in tensors:
        tensor.requires_grad_()
    built.value().backward()
    for argument, label, tensor in tensors:
        reached = tensor.grad is not None and bool(tensor.grad.ne(0).any())
        wanted = argument in spec.trains
        _require(reached == wanted, f"{label!r} receives {'gradient' if reached else 'no gradient'}")
        _require(not wanted or _finite_gradient(tensor), f"the gradient of {label!r} is not finite")
    for name, parameter in built.module.named_parameters():
        if spec.critic and name.startswith("critic."):
            continue
        _require(parameter.grad is not None, f"parameter {name!r} receives no gradient")
        _require(_finite_gradient(parameter), f"the gradient of parameter {name!r} is not finite")


@_clause
def critic_learns_alone(spec: LossSpec) -> None:
    """``critic_loss`` is a finite scalar whose gradient reaches every parameter of the critic and nothing else; the
    loss itself reaches none of them (asked of losses with a critic)."""
    if not spec.critic:
        return
    built, inputs = trial(spec), critic_inputs(spec)
    let_train(spec, built.inputs)
    own = dict(built.module.get_submodule("critic").named_parameters())
    built.value().backward()
    for name, parameter in own.items():
        _require(parameter.grad is None, f"the loss itself reaches {name!r} of the critic")
    built.module.zero_grad()
    for _, _, tensor in leaves(inputs):
        tensor.requires_grad_()
    value = built.module.critic_loss(**inputs)  # type: ignore[operator]
    _require(value.shape == () and bool(value.isfinite()), f"critic_loss is {value}, not a finite scalar")
    value.backward()
    for _, label, tensor in leaves(inputs):
        _require(tensor.grad is None, f"critic_loss reaches {label!r}")
    for name, parameter in built.module.named_parameters():
        wanted = name.startswith("critic.")
        _require((parameter.grad is not None) == wanted, f"critic_loss {'misses' if wanted else 'reaches'} {name!r}")
        _require(not wanted or _finite_gradient(parameter), f"critic_loss: the gradient of {name!r} is not finite")


def _finite_gradient(tensor: Tensor) -> bool:
    return tensor.grad is not None and bool(tensor.grad.isfinite().all())


@_clause
def inputs_stay_untouched(spec: LossSpec) -> None:
    """Neither forward nor backward writes into what was given; banks are for the engine to update."""
    built = trial(spec)
    let_train(spec, built.inputs)
    before = {label: tensor.detach().clone() for label, tensor in _state(built.inputs).items()}
    built.value().backward()
    for label, tensor in _state(built.inputs).items():
        _require(torch.equal(tensor, before[label]), f"{label!r} is changed in place")


def _state(inputs: dict[str, Any]) -> dict[str, Tensor]:
    """All tensors of the inputs by label, those of lists and modules included."""
    state: dict[str, Tensor] = {}
    for name, value in inputs.items():
        if isinstance(value, nn.Module):
            state |= {f"{name}.{key}": tensor for key, tensor in value.state_dict().items()}
        elif isinstance(value, list):
            state |= {f"{name}[{index}]": tensor for index, tensor in enumerate(value)}
        elif isinstance(value, Tensor):
            state[name] = value
    return state


@_clause
def takes_a_batch_of_one(spec: LossSpec) -> None:
    """One image gives a finite value and finite gradients (the last batch of an epoch may be that small)."""
    built = trial(spec, batch=1)
    if "batch_size" in spec.facts.values():  # built for full batches, then given a single image
        built.module = trial(spec).module
    trained = let_train(spec, built.inputs)
    value = built.value()
    _require(bool(value.isfinite()), f"the value of one image is {value.item()}")
    value.backward()
    for label, tensor in trained:
        _require(_finite_gradient(tensor), f"the gradient of {label!r} is not finite for one image")


@_clause
def state_survives_a_checkpoint(spec: LossSpec) -> None:
    """After ``load_state_dict`` a fresh module goes on exactly as the old one: all state is in the checkpoint."""
    old, fresh = trial(spec, start=0), trial(spec, start=1)
    old.value()
    fresh.module.load_state_dict(copy.deepcopy(old.module.state_dict()))
    went_on, resumed = old.module(**trial(spec, seed=1).inputs), fresh.module(**trial(spec, seed=1).inputs)
    _require(torch.equal(went_on, resumed), f"{went_on.item()} goes on as {resumed.item()} after a checkpoint")


@_clause
def repeats_exactly(spec: LossSpec) -> None:
    """The same state, inputs and generator give the same value, to the last bit."""
    first = trial(spec).value()
    torch.rand(3)  # a loss that draws from the global stream differs now
    second = trial(spec).value()
    _require(torch.equal(first, second), f"{first.item()}, then {second.item()}")


@_clause
def is_exact_under_autocast(spec: LossSpec) -> None:
    """Under autocast the arithmetic stays in float32, for float32 and for bfloat16 inputs."""
    for dtype in (torch.float32, torch.bfloat16):
        narrow, wide = trial(spec), trial(spec)
        for name, value in narrow.inputs.items():
            if isinstance(value, Tensor | list):
                narrow.inputs[name] = cast(value, dtype)
                wide.inputs[name] = cast(narrow.inputs[name], torch.float32)
        plain = wide.value()
        with torch.autocast("cpu", torch.bfloat16):
            value = narrow.value()
        _require(value.dtype == torch.float32, f"{dtype} inputs give {value.dtype} under autocast")
        _require(_close(value, plain, 1e-5), f"{dtype} inputs: {plain.item()} becomes {value.item()} under autocast")


@_clause
def order_of_images_is_irrelevant(spec: LossSpec) -> None:
    """A shuffled batch has the same value (not asked of losses that sample for each image)."""
    if "generator" in spec.feeds.values():
        return
    straight, shuffled = trial(spec), trial(spec)
    order = torch.tensor([3, 5, 1, 0, 2, 4])  # none stays in its place
    shuffled.inputs = of_images(spec, shuffled.inputs, order)
    values = straight.value(), shuffled.value()
    _require(_close(*values, 1e-5), f"{values[0].item()} becomes {values[1].item()} when the batch is shuffled")


@_clause
def images_stand_alone_unless_related(spec: LossSpec) -> None:
    """Without ``relates_images`` the value is the mean over single images, which is what several processes rely on."""
    if spec.relates_images or "generator" in spec.feeds.values():
        return
    whole = trial(spec).value()
    alone = []
    for image in range(BATCH):
        single = trial(spec)
        single.inputs = of_images(spec, single.inputs, torch.tensor([image]))
        alone.append(single.value())
    mean = torch.stack(alone).mean()
    _require(_close(whole, mean, 1e-4), f"{whole.item()} for the batch, {mean.item()} as the mean over its images")


@_clause
def every_feed_matters(spec: LossSpec) -> None:
    """The value depends on each input; one that changes nothing has no business among the feeds."""
    value = trial(spec).value()
    for name, feed in spec.feeds.items():
        if feed == "views":  # says how the others are laid out
            continue
        for label, changed in exchanged(spec, name):
            _require(not torch.equal(value, changed.value()), f"{label!r} can be exchanged without any effect")
