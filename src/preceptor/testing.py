"""The contract that every loss keeps, ours or a plug-in's, checked from its registration alone.

    from preceptor.testing import check_loss
    check_loss("kl")

Each clause is a small function below; its docstring says what is promised.
"""

from __future__ import annotations

import copy
import dis
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.losses.registry import LOSSES, LossSpec
from preceptor.utils.errors import PreceptorError, did_you_mean
from preceptor.utils.randomness import generator

#: Feeds that do not have one entry for each image or view of it.
_NOT_PER_IMAGE = frozenset({"views", "generator", "to.bank", "from.bank"})
_BATCH = 6  # the order below has as many places

Clause = Callable[[LossSpec], None]
CLAUSES: dict[str, Clause] = {}


class ContractError(AssertionError):
    """A loss does not keep a clause of the contract; the message names both."""


def check_loss(loss: str | LossSpec, clauses: Iterable[str] | None = None) -> None:
    """Checks a loss against the contract, on the CPU, with the inputs of its own ``example``.

    Args:
        loss: a registered name, or a spec.
        clauses: names from :data:`CLAUSES`; all of them by default.

    Raises:
        ContractError: lists every clause that failed, and why.
        PreceptorError: no such loss or clause.
    """
    spec = LOSSES[loss] if isinstance(loss, str) else loss
    broken = []
    for name in CLAUSES if clauses is None else clauses:
        if name not in CLAUSES:
            raise PreceptorError(f"there is no clause {name!r}.{did_you_mean(name, CLAUSES)}")
        try:
            CLAUSES[name](spec)
        except Exception as error:  # a loss that crashes breaks the clause too
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            broken.append(f"  {name}: {kind}{error}")
    if broken:
        raise ContractError("\n".join([f"loss {spec.name!r} breaks the contract:", *broken]))


def _require(kept: bool, otherwise: str) -> None:
    if not kept:
        raise AssertionError(otherwise)


def _clause(check: Clause) -> Clause:
    CLAUSES[check.__name__] = check
    return check


@dataclass
class _Trial:
    """A loss built from its example, with the inputs to call it on."""

    module: nn.Module
    inputs: dict[str, Any]

    def value(self) -> Tensor:
        return self.module(**self.inputs)


def _trial(spec: LossSpec, *, batch: int = _BATCH, seed: int = 0, start: int = 0) -> _Trial:
    """``seed`` decides settings and inputs, ``start`` the module's own initial parameters."""
    settings, inputs = spec.example(generator(seed, "check_loss"), batch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(start)
        return _Trial(spec.module(**settings), inputs)


def _floating(inputs: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors that could receive gradient, by argument; of a module its buffers, as ``argument.buffer``."""
    found: dict[str, Tensor] = {}
    for name, value in inputs.items():
        if isinstance(value, nn.Module):
            found |= {f"{name}.{key}": buffer for key, buffer in value.named_buffers()}
        elif isinstance(value, Tensor):
            found[name] = value
    return {name: tensor for name, tensor in found.items() if tensor.is_floating_point()}


def _close(left: Tensor, right: Tensor, tolerance: float) -> bool:
    return torch.allclose(left.double(), right.double(), rtol=tolerance, atol=tolerance * 1e-2)


@_clause
def example_is_complete(spec: LossSpec) -> None:
    """The example gives every fact and every feed, and nothing in the signatures is left unnamed."""
    settings, inputs = spec.example(generator(0, "check_loss"), _BATCH)
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
    found = re.search(r"\b(19|20)\d\d\b", spec.module.__doc__ or "")
    _require(found is not None, "the docstring names no source (authors and year)")


@_clause
def value_is_a_finite_scalar(spec: LossSpec) -> None:
    """A float32 scalar, finite."""
    value = _trial(spec).value()
    _require(value.shape == (), f"the value has shape {tuple(value.shape)}, not ()")
    _require(value.dtype == torch.float32, f"the value is {value.dtype}, not float32")
    _require(bool(value.isfinite()), f"the value is {value.item()}")


@_clause
def keeps_double(spec: LossSpec) -> None:
    """float64 inputs give a float64 value, the same as in float32 but for rounding."""
    single, double = _trial(spec), _trial(spec)
    double.module.double()
    double.inputs = {name: _cast(value, torch.float64) for name, value in double.inputs.items()}
    value = double.value()
    _require(value.dtype == torch.float64, f"float64 inputs give {value.dtype}")
    _require(_close(single.value(), value, 1e-3), f"{value.item()} in float64, {single.value().item()} in float32")


@_clause
def gradient_reaches_what_it_trains(spec: LossSpec) -> None:
    """A finite gradient that is not zero for every argument in ``trains`` and every parameter; none for others."""
    trial = _trial(spec)
    tensors = _floating(trial.inputs)
    for tensor in tensors.values():
        tensor.requires_grad_()
    trial.value().backward()
    for name, tensor in tensors.items():
        reached = tensor.grad is not None and bool(tensor.grad.ne(0).any())
        wanted = name in spec.trains
        _require(reached == wanted, f"{name!r} receives {'gradient' if reached else 'no gradient'}")
        _require(not wanted or _finite_gradient(tensor), f"the gradient of {name!r} is not finite")
    for name, parameter in trial.module.named_parameters():
        _require(parameter.grad is not None, f"parameter {name!r} receives no gradient")
        _require(_finite_gradient(parameter), f"the gradient of parameter {name!r} is not finite")


def _finite_gradient(tensor: Tensor) -> bool:
    return tensor.grad is not None and bool(tensor.grad.isfinite().all())


@_clause
def inputs_stay_untouched(spec: LossSpec) -> None:
    """Neither forward nor backward writes into what was given; banks are for the engine to update."""
    trial = _trial(spec)
    for name in spec.trains:
        trial.inputs[name].requires_grad_()
    given: dict[str, Any] = {
        name: value for name, value in trial.inputs.items() if isinstance(value, Tensor | nn.Module)
    }
    before = copy.deepcopy(given)
    trial.value().backward()
    for name, value in given.items():
        was = before[name]
        if isinstance(value, nn.Module):
            now, then = value.state_dict(), was.state_dict()
            _require(all(torch.equal(now[key], then[key]) for key in then), f"the state of {name!r} is changed")
        else:
            _require(torch.equal(value, was), f"{name!r} is changed in place")


@_clause
def takes_a_batch_of_one(spec: LossSpec) -> None:
    """One image gives a finite value and finite gradients (the last batch of an epoch may be that small)."""
    trial = _trial(spec, batch=1)
    for name in spec.trains:
        trial.inputs[name].requires_grad_()
    value = trial.value()
    _require(bool(value.isfinite()), f"the value of one image is {value.item()}")
    value.backward()
    for name in spec.trains:
        _require(_finite_gradient(trial.inputs[name]), f"the gradient of {name!r} is not finite for one image")


@_clause
def state_survives_a_checkpoint(spec: LossSpec) -> None:
    """After ``load_state_dict`` a fresh module goes on exactly as the old one: all state is in the checkpoint."""
    old, fresh = _trial(spec, start=0), _trial(spec, start=1)
    old.value()
    fresh.module.load_state_dict(copy.deepcopy(old.module.state_dict()))
    went_on, resumed = old.module(**_trial(spec, seed=1).inputs), fresh.module(**_trial(spec, seed=1).inputs)
    _require(torch.equal(went_on, resumed), f"{went_on.item()} goes on as {resumed.item()} after a checkpoint")


@_clause
def repeats_exactly(spec: LossSpec) -> None:
    """The same state, inputs and generator give the same value, to the last bit."""
    first = _trial(spec).value()
    torch.rand(3)  # whoever draws from the global stream is found out
    second = _trial(spec).value()
    _require(torch.equal(first, second), f"{first.item()}, then {second.item()}")


@_clause
def is_exact_under_autocast(spec: LossSpec) -> None:
    """Under autocast the arithmetic stays in float32, for float32 and for bfloat16 inputs."""
    for dtype in (torch.float32, torch.bfloat16):
        narrow, wide = _trial(spec), _trial(spec)
        for name, value in narrow.inputs.items():
            if isinstance(value, Tensor):
                narrow.inputs[name] = _cast(value, dtype)
                wide.inputs[name] = _cast(narrow.inputs[name], torch.float32)
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
    straight, shuffled = _trial(spec), _trial(spec)
    order = torch.tensor([3, 5, 1, 0, 2, 4])  # none stays in its place
    shuffled.inputs = _of_images(spec, shuffled.inputs, order)
    values = straight.value(), shuffled.value()
    _require(_close(*values, 1e-5), f"{values[0].item()} becomes {values[1].item()} when the batch is shuffled")


@_clause
def images_stand_alone_unless_related(spec: LossSpec) -> None:
    """Without ``relates_images`` the value is the mean over single images, which is what several processes rely on."""
    if spec.relates_images or "generator" in spec.feeds.values():
        return
    whole = _trial(spec).value()
    alone = []
    for image in range(_BATCH):
        trial = _trial(spec)
        trial.inputs = _of_images(spec, trial.inputs, torch.tensor([image]))
        alone.append(trial.value())
    mean = torch.stack(alone).mean()
    _require(_close(whole, mean, 1e-4), f"{whole.item()} for the batch, {mean.item()} as the mean over its images")


@_clause
def every_feed_matters(spec: LossSpec) -> None:
    """The value depends on each input; one that changes nothing has no business among the feeds."""
    value = _trial(spec).value()
    for name, feed in spec.feeds.items():
        if feed == "views":  # says how the others are laid out
            continue
        other = _trial(spec)
        other.inputs[name] = _trial(spec, seed=1).inputs[name]
        _require(not torch.equal(value, other.value()), f"{name!r} can be exchanged without any effect")


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, nn.Module):
        return value.to(dtype)
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def _of_images(spec: LossSpec, inputs: dict[str, Any], images: Tensor) -> dict[str, Any]:
    """The inputs of some images; where there are several views of each, the same images of every block."""
    return {
        name: value if spec.feeds[name] in _NOT_PER_IMAGE else value.unflatten(0, (-1, _BATCH))[:, images].flatten(0, 1)
        for name, value in inputs.items()
    }
