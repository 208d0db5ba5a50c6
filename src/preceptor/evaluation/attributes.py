"""Values of an attribute (sex, age, site …) in words: numbers in bands, missing ones named."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

MISSING = ""  # what split.csv holds where an attribute is not recorded
MOST = 8  # distinct numbers up to which each is a subgroup of its own
BANDS = 4  # of equally many images, where there are more


def is_numeric(attribute: ArrayLike) -> bool:
    """Whether all recorded values of an attribute are numbers, and at least one is recorded.

    >>> is_numeric(["55", "", "60.5"]), is_numeric(["55", "adult"]), is_numeric([""])
    (True, False, False)
    """
    recorded = _text(attribute)
    numbers = pd.to_numeric(recorded[recorded != MISSING], errors="coerce")
    return bool(len(numbers) and np.isfinite(numbers).all())


def banded(attribute: ArrayLike) -> tuple[NDArray[np.str_], list[str]]:
    """Return the values of an attribute in words, and the different ones in order.

    Numbers of more than eight kinds are put into four bands of about equally many images.

    Args:
        attribute: (N,) values; empty text, None and NaN are not recorded.

    Returns:
        (N,) words, empty where nothing is recorded, and the words that occur: numbers and bands from the smallest,
        all others by the alphabet.

    >>> banded(["male", "", "female"])[1]
    ['female', 'male']
    >>> banded([str(age) for age in range(101)])[1]
    ['up to 25', 'over 25 to 50', 'over 50 to 75', 'over 75 to 100']
    """
    text = _text(attribute)
    if not is_numeric(attribute):
        return text.to_numpy(str), sorted(set(text) - {MISSING})
    recorded = text != MISSING
    numbers = pd.to_numeric(text[recorded])
    if numbers.nunique() <= MOST:
        text[recorded] = numbers.map(_short)
        return text.to_numpy(str), [_short(value) for value in sorted(numbers.unique())]
    edges = [_short(edge) for edge in np.unique(np.quantile(numbers, np.linspace(0, 1, BANDS + 1)))]
    names = [f"up to {edges[1]}", *(f"over {low} to {high}" for low, high in pairwise(edges[1:]))]
    inner = [float(edge) for edge in edges[1:-1]]
    index = np.searchsorted(inner, numbers, side="left")
    text[recorded] = np.array(names, dtype=object)[index]
    return text.to_numpy(str), [name for place, name in enumerate(names) if (index == place).any()]


def _text(attribute: ArrayLike) -> pd.Series:
    values = pd.Series(np.asarray(attribute, dtype=object))
    return values.where(values.notna(), MISSING).astype(str).str.strip()


def _short(value: float) -> str:
    return f"{float(value):.6g}"
