"""The shapes of the nested values in ``metrics.json``; keys that are not named here hold anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NotRequired

from pydantic import ConfigDict, StrictFloat, StrictInt, TypeAdapter, ValidationError
from typing_extensions import TypedDict

Number = StrictFloat | StrictInt | None
_OPEN = ConfigDict(extra="allow")


class _Latency(TypedDict, total=False):
    __pydantic_config__ = _OPEN  # type: ignore[misc]
    median: Number
    p10: Number
    p90: Number
    load: StrictFloat | StrictInt
    cores: StrictInt


class Cost(TypedDict, total=False):
    """What :func:`preceptor.evaluation.cost.cost_of` measures."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]
    parameters: Number
    trainable_parameters: Number
    bytes: Number
    flops: Number
    latency_ms: _Latency | None


class Relations(TypedDict, total=False):
    """What :mod:`preceptor.evaluation.relations` measures."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]
    r_d: Number
    intra: Number
    inter: Number
    images: Number


class _Agreement(TypedDict):
    __pydantic_config__ = _OPEN  # type: ignore[misc]
    agreement: StrictFloat | StrictInt
    kl: Number


class _Fidelity(_Agreement):
    to: str
    others: NotRequired[dict[str, _Agreement]]


class PartResult(TypedDict, total=False):
    """Metric → value on one part of the data; metrics that are one number are checked with their task."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]
    per_class_recall: dict[str, Number]
    per_class: dict[str, dict[str, Number]]
    absent_classes: list[str]
    class_groups: dict[str, dict[str, Number]]
    fidelity: _Fidelity


def shaped(shape: Any) -> Callable[[Any], Any]:
    """Return a validator that raises ``ValueError`` with the key of the first value of another shape.

    >>> shaped(Cost)({"parameters": 25, "a_later_key": "x"})
    {'parameters': 25, 'a_later_key': 'x'}
    """
    adapter = TypeAdapter(shape | None)

    def check(value: Any) -> Any:
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            fault = error.errors()[0]
            key = ".".join(str(part) for part in fault["loc"] if part not in ("float", "int"))
            wrong = "is missing" if fault["type"] == "missing" else f"is {str(fault['input'])[:60]!r}"
            raise ValueError(f"{key or 'it'} {wrong}: {fault['msg'].removeprefix('Input ')}") from None
        return value

    return check
