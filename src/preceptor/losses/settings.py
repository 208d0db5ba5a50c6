"""Checks of a loss's settings, with one wording for all losses."""

from __future__ import annotations

from collections.abc import Collection
from math import isfinite

from preceptor.utils.errors import PreceptorError


def check_positive(**settings: float) -> None:
    """Raise if a setting is not a positive, finite number.

    Raises:
        PreceptorError: names the setting.

    >>> check_positive(temperature=4.0)
    """
    for name, value in settings.items():
        if not (isfinite(value) and value > 0):
            raise PreceptorError(f"{name}: {value}", expected="a positive number")


def check_not_negative(**settings: float) -> None:
    """Raise if a setting is negative or not finite.

    Raises:
        PreceptorError: names the setting.

    >>> check_not_negative(alpha=0.0)
    """
    for name, value in settings.items():
        if not (isfinite(value) and value >= 0):
            raise PreceptorError(f"{name}: {value}", expected="a number, zero or larger")


def check_share(**settings: float) -> None:
    """Raise if a setting is not a share, both ends among them.

    Raises:
        PreceptorError: names the setting.

    >>> check_share(keep=0.75, same=1.0)
    """
    for name, value in settings.items():
        if not 0 <= value <= 1:
            raise PreceptorError(f"{name}: {value}", expected="a share, from 0 to 1")


def check_below_one(**settings: float) -> None:
    """Raise if a setting is negative, or is one or more.

    Raises:
        PreceptorError: names the setting.

    >>> check_below_one(label_smoothing=0.1)
    """
    for name, value in settings.items():
        if not 0 <= value < 1:
            raise PreceptorError(f"{name}: {value}", expected="a number in [0, 1)")


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise if a setting is none of its choices.

    Raises:
        PreceptorError: names the setting and the choices.

    >>> check_choice("variant", "paper", ["paper", "official"])
    """
    if value not in choices:
        raise PreceptorError(f"{name}: {value!r}", expected="one of " + ", ".join(choices))
