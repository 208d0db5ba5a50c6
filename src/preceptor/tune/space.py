"""What a search may try: ``objectives.kl.weight=log(0.01,10)`` and its like."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

from preceptor.recipes.overrides import refuse_repeated
from preceptor.utils.errors import PreceptorError, did_you_mean
from preceptor.utils.plain_yaml import load_yaml

KINDS = {
    "log": "log(a,b): numbers from a to b, evenly over their logarithms",
    "uniform": "uniform(a,b): numbers from a to b",
    "int": "int(a,b): whole numbers from a to b",
    "choice": "choice(a,b,…): one of these",
}
_CALL = re.compile(r"\s*([A-Za-z_]\w*)\s*\((.*)\)\s*", re.DOTALL)
_MANY = 10_000  # combinations: more are not listed, since a search comes nowhere near them
Value = float | int | str | bool | None


@dataclass(frozen=True)
class Dimension:
    """One key that is searched.

    Attributes:
        key: of the recipe, dotted, or one of its arguments.
        kind: one of :data:`KINDS`.
        values: the two ends, or all choices.
    """

    key: str
    kind: str
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{self.kind}({','.join('null' if value is None else str(value) for value in self.values)})"

    def holds(self, value: object) -> bool:
        """Return whether the search could try this value."""
        if self.kind == "choice":
            return any(type(choice) is type(value) and choice == value for choice in self.values)
        low, high = self.values
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or (self.kind == "int" and value != int(value))
        ):
            return False
        return float(low) <= value <= float(high)  # type: ignore[arg-type]


def combinations(space: Sequence[Dimension]) -> list[dict[str, Value]] | None:
    """Return all that a search over choices and whole numbers can try; None of other numbers, or of very many.

    >>> combinations([Dimension("epochs", "int", (4, 5)), Dimension("balance", "choice", (0.5, 0.9))])[1]
    {'epochs': 4, 'balance': 0.9}
    """
    if any(dimension.kind not in ("int", "choice") for dimension in space):
        return None
    values = [_listed(dimension) for dimension in space]
    if math.prod(map(len, values)) > _MANY:
        return None
    keys = [dimension.key for dimension in space]
    return [dict(zip(keys, combination, strict=True)) for combination in product(*values)]


def _listed(dimension: Dimension) -> Sequence[Value]:
    if dimension.kind == "choice":
        return dimension.values
    low, high = cast(tuple[int, int], dimension.values)
    return range(low, high + 1)


def split_space(overrides: Sequence[str]) -> tuple[list[Dimension], list[str]]:
    """Split overrides into the searched keys and the rest.

    Raises:
        PreceptorError: a range that cannot be read, ends in the wrong order, a key given twice.
    """
    space, rest = [], []
    for override in overrides:
        key, separator, text = override.partition("=")
        call = _CALL.fullmatch(text) if separator else None
        if call is None:
            rest.append(override)
        else:
            space.append(_dimension(key, call[1], call[2]))
    refuse_repeated(override.partition("=")[0] for override in overrides)
    return space, rest


def _dimension(key: str, kind: str, inside: str) -> Dimension:
    text = f"{key}={kind}({inside})"
    if kind not in KINDS:
        raise PreceptorError(
            f"{text}: there is no {kind}.{did_you_mean(kind, KINDS)}", expected="; ".join(KINDS.values())
        )
    try:
        values = tuple(load_yaml(f"[{inside}]", key))  # as recipes are read: 1e-3 is a number
    except PreceptorError:
        raise PreceptorError(f"{text}: cannot be read", expected=KINDS[kind]) from None
    if kind == "choice":
        return Dimension(key, kind, _choices(text, values))
    numbers = tuple(_number(text, kind, value) for value in values)
    if len(numbers) != 2:
        raise PreceptorError(f"{text}: has {len(numbers)} numbers", expected=KINDS[kind])
    low, high = numbers
    if not low < high:
        raise PreceptorError(f"{text}: {low} is not below {high}", expected=KINDS[kind])
    if kind == "log" and low <= 0:
        raise PreceptorError(f"{text}: {low} has no logarithm", expected="numbers above 0", remedy=f"uniform({inside})")
    return Dimension(key, kind, numbers)


def _choices(text: str, values: tuple[Any, ...]) -> tuple[Value, ...]:
    if len(values) < 2:
        raise PreceptorError(f"{text}: leaves nothing to choose", expected=KINDS["choice"])
    for value in values:
        if not isinstance(value, float | int | str | bool | None):
            raise PreceptorError(
                f"{text}: {value!r} is no single value", expected="numbers, words, true, false or null"
            )
    if repeated := [value for place, value in enumerate(values) if value in values[:place]]:
        raise PreceptorError(f"{text}: {repeated[0]!r} equals another choice", expected="choices that differ")
    return values


def _number(text: str, kind: str, value: Any) -> float | int:
    wanted = int if kind == "int" else float | int
    if (
        isinstance(value, bool)
        or not isinstance(value, wanted)
        or value != value
        or value in (float("inf"), -float("inf"))
    ):
        raise PreceptorError(f"{text}: {value!r} is no {'whole ' if kind == 'int' else ''}number", expected=KINDS[kind])
    return value if kind == "int" else float(value)
