"""How numbers, durations and lists are written: on every page and on the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from preceptor.evaluation.statistics import Spread

THIN = "\u202f"  # narrow no-break space, between thousands and before units
MINUS = "\u2212"
NONE = "\u2013"


def ratio(value: float | None, decimals: int = 3) -> str:
    """A number with fixed decimals.

    >>> ratio(0.12345), ratio(None)
    ('0.123', '–')
    """
    return NONE if value is None else f"{value:.{decimals}f}".replace("-", MINUS)


def signed(value: float | None, decimals: int = 3) -> str:
    """A difference with its sign; no sign where it rounds to zero.

    >>> signed(0.0123), signed(-0.0123), signed(0.0001)
    ('+0.012', '−0.012', '0.000')
    """
    if value is None:
        return NONE
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def span(low: float, high: float, decimals: int = 3) -> str:
    """An interval of differences.

    >>> span(-0.01, 0.03)
    '−0.010 to +0.030'
    """
    return f"{signed(low, decimals)} to {signed(high, decimals)}"


def tick(value: float) -> str:
    """A signed number as short as it goes: ``+0.05``."""
    return f"{value:+.3g}".replace("-", MINUS) if abs(value) > 1e-9 else "0"


def mean_std(spread: Spread | None, decimals: int = 3, with_std: bool = True) -> str:
    """Mean ± standard deviation; the mean alone of a single cell, or unless ``with_std``."""
    if spread is None:
        return NONE
    mean = ratio(spread.mean, decimals)
    return f"{mean} ± {ratio(spread.std, decimals)}" if with_std and spread.std is not None else mean


def probability(p: float | None) -> str:
    """A p-value with two digits, and none below 0.001.

    >>> probability(0.0321), probability(0.00001)
    ('0.032', '< 0.001')
    """
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def points(value: float) -> str:
    """A difference of two ratios in percentage points: ``1.2 points``."""
    return f"{value * 100:.1f} points".replace("-", MINUS)


def percent(value: float) -> str:
    """A share: ``12.3 %``."""
    return f"{value * 100:.1f}{THIN}%"


def count(value: int) -> str:
    """A whole number with narrow spaces between thousands: ``10 015``."""
    return f"{value:,}".replace(",", THIN)


def counted(number: int, thing: str, plural: str = "") -> str:
    """A number and a noun.

    >>> counted(1, "fold"), counted(2, "process", "processes")
    ('1 fold', '2 processes')
    """
    return f"{count(number)} {thing if number == 1 else plural or thing + 's'}"


def scaled(value: float | None, unit: str = "") -> str:
    """Three digits and a prefix: ``1.23 M``."""
    if value is None:
        return NONE
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{THIN}{prefix}{unit}"
    return f"{value:.3g}{THIN}{unit}".rstrip(THIN)


def short(value: float, _: object = None) -> str:
    """The number at a tick of an axis, short: ``0.25``, but ``2.5e-4``.

    >>> short(0.25), short(0.00025), short(0.001), short(0.0)
    ('0.25', '2.5e-4', '0.001', '0')
    """
    if value == 0 or abs(value) >= 1e-3:
        return f"{value:.4g}"
    number, power = f"{value:.2e}".split("e")
    return f"{float(number):g}e{int(power)}"


def duration(seconds: float | None) -> str:
    """A time span: ``1 h 02 min``, ``3 min 20 s`` or ``12 s``."""
    if seconds is None:
        return NONE
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{THIN}s"
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60:02d}{THIN}s"
    return f"{whole // 3600}{THIN}h {whole % 3600 // 60:02d}{THIN}min"


def milliseconds(value: float | None) -> str:
    """A latency: ``12.3 ms``."""
    return NONE if value is None else f"{value:.3g}{THIN}ms" if value < 100 else f"{value:.0f}{THIN}ms"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def capitalised(text: str) -> str:
    """The text with its first letter in upper case, all others as they are."""
    return text[:1].upper() + text[1:]


FILTERS: dict[str, Callable[..., str]] = {
    function.__name__: function
    for function in (
        ratio, signed, tick, mean_std, probability, percent, count, counted, scaled, duration, milliseconds, listed,
    )
}  # fmt: skip
