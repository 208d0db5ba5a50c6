"""Labels as tables write them: one column of class names, one column for each class, or several names in one cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from preceptor.data.csvfile import LINE, is_missing
from preceptor.utils.errors import PreceptorError, some_of

_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")
_JOINERS = ("|", ";", " & ")  # between several labels in one cell


@dataclass(frozen=True)
class Labels:
    """The labels of a table's rows.

    Attributes:
        text: (N,) the class of each image, or its labels joined by ``|``; empty where it has none.
        classes: in the order of their indices.
        matrix: (N, L) 1, 0 or NaN for each of ``classes`` where an image may have several; None where it has one.
        notes: sentences for the user.
    """

    text: pd.Series
    classes: tuple[str, ...]
    matrix: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()


def one_column(path: Path, column: pd.Series) -> Labels:
    """One class per image. Numbers are ordered by their value, other names by the alphabet.

    Args:
        path: the table, for messages.
        column: class names; empty where an image is unlabelled.

    Raises:
        PreceptorError: labels with blanks around them.
    """
    names = sorted(set(column) - {""})
    blank = [name for name in names if name != name.strip()]
    if blank:
        raise PreceptorError(
            f"{path}: labels with blanks around them: {some_of(map(repr, blank))}",
            expected="labels without blanks, so that no class is counted as two",
        )
    if all(_NUMBER.fullmatch(name) for name in names):
        names.sort(key=lambda name: (_value(name), name))
    return Labels(column, tuple(names), None, tuple(_joined(names)))


def several_in_a_cell(column: pd.Series, separator: str) -> Labels:
    """Several labels per image, in one cell with ``separator`` between them; an empty cell has none of them."""
    cells = [[name.strip() for name in cell.split(separator) if name.strip()] for cell in column]
    names = sorted({name for cell in cells for name in cell})
    matrix = pd.DataFrame({name: [float(name in cell) for cell in cells] for name in names}, index=column.index)
    return Labels(pd.Series(["|".join(cell) for cell in cells], index=column.index), tuple(names), matrix)


def several_columns(path: Path, rows: pd.DataFrame, columns: Sequence[str]) -> Labels:
    """A column of 1 and 0 for each label; blank cells are labels that are not known.

    Where every image has exactly one of them (one-hot), they are the classes of a classification.

    Raises:
        PreceptorError: another value than 1, 0 or nothing.
    """
    values = rows[list(columns)].apply(lambda column: pd.to_numeric(column.mask(is_missing(column)), errors="coerce"))
    blank = rows[list(columns)].apply(is_missing)
    wrong = ~(values.isin([0, 1]) | blank).all(axis=1)
    if wrong.any():
        raise PreceptorError(
            f"{path}: another value than 1, 0 or nothing in the columns {some_of(columns, 5)} on line "
            f"{some_of(rows.loc[wrong, LINE])}",
            expected="1 where an image has the label, 0 where it has not, nothing where that is not known",
        )
    matrix = values.to_numpy(float)
    names = np.array(columns)
    if not blank.any(axis=None) and (matrix.sum(axis=1) == 1).all():
        text = pd.Series(names[matrix.argmax(axis=1)], index=rows.index)
        return Labels(text, tuple(columns), None, ("one label each (one-hot): the columns are classes",))
    text = pd.Series(["|".join(names[row == 1]) for row in matrix], index=rows.index)
    return Labels(text, tuple(columns), values.astype(np.float32))


def binary_columns(rows: pd.DataFrame) -> list[str]:
    """Columns that hold 0 and 1 alone, as one-hot tables have them."""
    numbers = {"0", "1", "0.0", "1.0"}
    return [str(name) for name in rows.columns if name != LINE and len(rows) and set(rows[name]) <= numbers]


def _joined(names: Sequence[str]) -> list[str]:
    for joiner in _JOINERS:
        composed = [name for name in names if joiner in name and set(map(str.strip, name.split(joiner))) & set(names)]
        if composed:
            return [
                f"{some_of(map(repr, composed), 3)} look like several labels of one image and are classes of their own "
                f"(data.label_separator='{joiner}' reads them as several labels)"
            ]
    return []


def _value(name: str) -> float:
    return float(name.replace(",", "."))
