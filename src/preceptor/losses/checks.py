"""One check of the inputs of every registered loss: types, shapes, number of images, devices and precision.

Without it a batch of one teacher row would broadcast over all students, and a wrong device would fail deep inside.
Nothing here reads values, so that no step waits for the device; :func:`check_unit_rows` is the exception.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import wraps
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from preceptor.utils.errors import PreceptorError

if TYPE_CHECKING:
    from preceptor.losses.registry import LossSpec

#: Feeds with one entry for each image; those of networks have one for each view of it.
_OF_NETWORKS = ("logits", "feature_map", "embedding", "projection", "features")
_OF_IMAGES = ("labels", "masks", "rows")

#: Facts about how wide a feed of the same network is.
_WIDTHS = {"channels": "feature_map", "embedding": "embedding", "projection": "projection"}

#: Dimensions that an input of a feed may have, where the feed decides it.
_DIMENSIONS = {"embedding": (2,), "projection": (2,), "rows": (1,), "feature_map": (4,), "logits": (2, 3, 4, 5)}

_TOLERANCE = 0.01  # of a unit row's length: rows normalised in bfloat16 pass


def with_checks(module: type[nn.Module], spec: LossSpec) -> None:
    """Let ``forward`` of a loss class check its inputs by the feeds of its registrations, and by the widths of either
    network that ``__init__`` was told."""
    earlier = module.__dict__.get("registrations", ())
    setattr(module, "registrations", (*earlier, spec))  # noqa: B010  (mypy knows no such attribute)
    if any(map(_is_width, spec.facts.values())):
        _remember_widths(module, spec)
    if getattr(module.forward, "checks_inputs", False):
        return
    forward, signature = module.forward, inspect.signature(module.forward)

    @wraps(forward)
    def checked(self: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        check_inputs(self, signature.bind(self, *args, **kwargs).arguments)
        return forward(self, *args, **kwargs)

    setattr(checked, "checks_inputs", True)  # noqa: B010
    setattr(module, "forward", checked)  # noqa: B010


def _remember_widths(module: type[nn.Module], spec: LossSpec) -> None:
    init, signature = module.__init__, inspect.signature(module.__init__)

    @wraps(init)
    def built(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        given = signature.bind(self, *args, **kwargs).arguments
        widths = {spec.facts[name]: int(given[name]) for name in given if _is_width(spec.facts.get(name, ""))}
        setattr(self, "built_for", widths)  # noqa: B010

    setattr(module, "__init__", built)  # noqa: B010


def _is_width(fact: str) -> bool:
    return fact.rpartition(".")[2] in _WIDTHS


def check_inputs(loss: nn.Module, arguments: Mapping[str, Any]) -> None:
    """Raise if the inputs of a registered loss do not fit each other, or the loss.

    Args:
        loss: an instance of a registered class.
        arguments: of its ``forward``, by name.

    Raises:
        PreceptorError: names the loss, the argument and the shapes.
    """
    specs: tuple[LossSpec, ...] = type(loss).registrations  # type: ignore[attr-defined]
    name, feeds = specs[0].name, specs[0].feeds
    rows: dict[str, Tensor] = {}
    images: dict[str, Tensor] = {}
    for argument, value in arguments.items():
        kinds = {spec.feeds[argument].split(".")[-1] for spec in specs if argument in spec.feeds}
        if kinds & {*_OF_NETWORKS, *_OF_IMAGES}:
            for label, tensor in _tensors(name, argument, value, listed="features" in kinds):
                _check_dimensions(name, label, tensor, kinds)
                (images if kinds & set(_OF_IMAGES) else rows)[label] = tensor
    if "views" in feeds.values():
        _check_batch(name, rows)
        _check_batch(name, images)
    else:
        _check_batch(name, rows | images)
    logits = {a: rows[a] for a, feed in feeds.items() if feed.endswith(".logits") and a in rows}
    _check_classes(name, logits)
    _check_targets(name, images, feeds, next(iter(logits.values()), None))
    _check_widths(name, loss, {feed: rows[a] for a, feed in feeds.items() if a in rows})
    _check_device(name, loss, rows | images)
    _check_precision(name, loss, rows)


def _tensors(loss: str, argument: str, value: Any, listed: bool) -> Iterator[tuple[str, Tensor]]:
    if not listed:
        if not isinstance(value, Tensor):
            raise PreceptorError(f"{loss}: {argument} is of type {type(value).__name__}", expected="a tensor")
        yield argument, value
        return
    if not isinstance(value, list | tuple) or not value or not all(isinstance(point, Tensor) for point in value):
        raise PreceptorError(
            f"{loss}: {argument} is of type {type(value).__name__}",
            expected="a list of tensors, one for each feature point",
        )
    for index, point in enumerate(value):
        yield f"{argument}[{index}]", point


def _check_dimensions(loss: str, label: str, tensor: Tensor, kinds: set[str]) -> None:
    allowed = [_DIMENSIONS.get(kind) for kind in kinds]
    if not tensor.ndim or not len(tensor):
        raise PreceptorError(f"{loss}: {label} has the shape {shape(tensor)}", expected="at least one image")
    if None in allowed or any(tensor.ndim in dimensions for dimensions in allowed if dimensions):
        return
    numbers = sorted({number for dimensions in allowed for number in dimensions or ()})
    raise PreceptorError(
        f"{loss}: {label} has the shape {shape(tensor)}",
        expected=f"{' or '.join(str(number) for number in numbers)} dimensions, as of {' or '.join(sorted(kinds))}",
    )


def _check_batch(loss: str, tensors: Mapping[str, Tensor]) -> None:
    if len({len(tensor) for tensor in tensors.values()}) > 1:
        raise PreceptorError(
            f"{loss}: inputs with different numbers of images: {_shapes(tensors)}",
            expected="the same number of rows in each",
        )


def _check_classes(loss: str, logits: Mapping[str, Tensor]) -> None:
    if len({(tensor.ndim, tensor.shape[1]) for tensor in logits.values()}) > 1:
        raise PreceptorError(
            f"{loss}: logits of different classes: {_shapes(logits)}", expected="the same classes in both networks"
        )


def _check_targets(loss: str, images: Mapping[str, Tensor], feeds: Mapping[str, str], logits: Tensor | None) -> None:
    places = () if logits is None else tuple(logits.shape[2:])
    for label, tensor in images.items():
        if tensor.is_floating_point():
            raise PreceptorError(
                f"{loss}: {label} is of type {tensor.dtype}",
                expected="whole numbers: the index of a class for each image or pixel",
                remedy="call .long() on indices; a mask that was read as an image of 0 to 1 has lost them",
            )
        if tensor.shape[1:] != places and (logits is not None or feeds[label] != "masks"):
            raise PreceptorError(
                f"{loss}: {label} has the shape {shape(tensor)}"
                + ("" if logits is None else f", for logits {shape(logits)}"),
                expected=f"one class for each image{' and pixel' if places else ''}, {(len(tensor), *places)}",
            )


def _check_widths(loss: str, module: nn.Module, feeds: Mapping[str, Tensor]) -> None:
    for fact, width in getattr(module, "built_for", {}).items():
        side, _, kind = fact.partition(".")
        tensor = feeds.get(f"{side}.{_WIDTHS[kind]}")
        if tensor is None:
            continue
        if tensor.shape[1] != width:
            network = "student" if side == "to" else "network that it learns from"
            raise PreceptorError(
                f"{loss}: the {_WIDTHS[kind].replace('_', ' ')} of the {network} has the shape {shape(tensor)}",
                expected=f"{width} {'channels' if kind == 'channels' else 'entries'}, as the loss was built for",
            )


def _check_device(loss: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    devices = {label: tensor.device for label, tensor in tensors.items()}
    own = next(chain(module.parameters(), module.buffers()), None)
    if own is not None:
        devices["the loss itself"] = own.device
    if len(set(devices.values())) > 1:
        places = ", ".join(f"{label} on {device}" for label, device in devices.items())
        raise PreceptorError(
            f"{loss}: inputs on different devices: {places}", expected="one device", remedy="use .to()"
        )


def _check_precision(loss: str, module: nn.Module, rows: Mapping[str, Tensor]) -> None:
    types = {label: _widened(tensor.dtype) for label, tensor in rows.items()}
    if any(not dtype.is_floating_point for dtype in types.values()):
        label, dtype = next((label, dtype) for label, dtype in types.items() if not dtype.is_floating_point)
        raise PreceptorError(f"{loss}: {label} is of type {dtype}", expected="floating-point numbers")
    own = next(module.parameters(), None)
    if own is not None:
        types["the parameters of the loss"] = own.dtype
    if len(set(types.values())) > 1:
        raise PreceptorError(
            f"{loss}: inputs of different types: {', '.join(f'{label} {dtype}' for label, dtype in types.items())}",
            expected="one type",
            remedy="call .float() or .double() on inputs and loss alike",
        )


def check_same_shape(loss: str, **tensors: Tensor) -> None:
    """Raise if tensors that are compared entry by entry differ in shape.

    Raises:
        PreceptorError: names the loss, the arguments and the shapes.

    >>> check_same_shape("kl", student_logits=torch.zeros(2, 7), teacher_logits=torch.zeros(2, 7))
    """
    if len({tensor.shape for tensor in tensors.values()}) > 1:
        raise PreceptorError(f"{loss}: {_shapes(tensors)}", expected="inputs of one shape")


def check_several_classes(loss: str, logits: Tensor) -> None:
    """Raise if there is one class, whose softmax is one whatever the logits (B, C, …): nothing would be learned.

    Raises:
        PreceptorError: names the loss and the shape.

    >>> check_several_classes("kl", torch.zeros(4, 2))
    """
    if logits.shape[1] < 2:
        raise PreceptorError(
            f"{loss}: logits of the shape {shape(logits)}, of one class",
            expected="at least 2 classes, for a softmax",
            remedy="give the networks two logits, or use binary_cross_entropy and sigmoid_kd, which take one",
        )


def check_class_counts(loss: str, logits: Tensor, class_counts: Sequence[int] | Tensor) -> None:
    """Raise if logits (B, C) are not of the classes that ``class_counts`` (C,) counts.

    Raises:
        PreceptorError: names the loss and both numbers.

    >>> check_class_counts("ltkd", torch.zeros(2, 3), torch.tensor([9, 4, 1]))
    """
    if logits.shape[1] != len(class_counts):
        raise PreceptorError(
            f"{loss}: logits of {logits.shape[1]} classes", expected=f"{len(class_counts)}, as class_counts has"
        )


def check_unit_rows(argument: str, rows: Tensor, *, may_wait: bool = True) -> None:
    """Raise if rows are not of unit length.

    Args:
        argument: its name, for the message.
        rows: (B, d).
        may_wait: whether to check rows that are not on the CPU, for which the host has to wait.

    Raises:
        PreceptorError: a row's length is more than 0.01 from one.

    >>> check_unit_rows("student", torch.tensor([[0.6, 0.8]]))
    """
    if isinstance(rows, FakeTensor) or (rows.device.type != "cpu" and not may_wait):
        return  # a traced tensor has no values
    off = (torch.linalg.vector_norm(rows.detach().float(), dim=1) - 1).abs().max().item()
    if not off <= _TOLERANCE:
        raise PreceptorError(
            f"{argument} has rows that are not of unit length (off by up to {off:.3g})",
            expected="projections scaled to unit length",
            remedy="pass them through torch.nn.functional.normalize first",
        )


def loss_name(loss: nn.Module) -> str:
    """The name under which the class of a loss is registered, the first of them where it has several."""
    specs: tuple[LossSpec, ...] = type(loss).registrations  # type: ignore[attr-defined]
    return specs[0].name


def shape(tensor: Tensor) -> str:
    """The shape as ``(6, 7)``."""
    return str(tuple(tensor.shape))


def _shapes(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{label} {shape(tensor)}" for label, tensor in tensors.items())


def _widened(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
