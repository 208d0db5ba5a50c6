"""The columns of ``predictions.csv`` that hold a probability: ``p_<class>``. Needs no pandas."""

from __future__ import annotations

from collections.abc import Iterable

PREFIX = "p_"


def score_columns(classes: Iterable[str]) -> list[str]:
    """Return the columns that hold the probability of each class.

    >>> score_columns(["nevus", "melanoma"])
    ['p_nevus', 'p_melanoma']
    """
    return [PREFIX + name for name in classes]


def classes_of(columns: Iterable[str]) -> list[str]:
    """Return the classes whose probabilities a table with such columns holds, in its order.

    >>> classes_of(["id", "p_nevus", "p_melanoma"])
    ['nevus', 'melanoma']
    """
    return [name.removeprefix(PREFIX) for name in columns if name.startswith(PREFIX)]
