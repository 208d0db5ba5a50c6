"""A CSV file to a table of strings, strictly."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from preceptor.utils.errors import PreceptorError, did_you_mean, some_of

#: Column of the tables of :func:`read_csv` that holds the line of the file on which a row ends (1 is the header).
LINE = "line of the file"


def read_csv(path: Path, columns: Iterable[str], *, separator: str = ",") -> pd.DataFrame:
    """The rows of a CSV file as strings, with :data:`LINE` beside them.

    Not pandas' own reader: it takes a row with one field too many for an index, fills short rows, and turns classes
    named "NA" or "None" into missing values and "0" into 0.0 when a value is missing below.

    Args:
        path: a UTF-8 file with a header (a byte order mark is accepted).
        columns: names that the header must have.
        separator: what stands between two fields.

    Raises:
        PreceptorError: no such file, not text, no header, a missing or repeated column, a row of another length.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator, strict=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except FileNotFoundError:
        raise PreceptorError(f"{path} does not exist", expected="a CSV file") from None
    except (OSError, UnicodeDecodeError, csv.Error, TypeError) as error:
        raise PreceptorError(f"{path} cannot be read: {error}", expected="a CSV file in UTF-8 with a header") from error
    if not rows:
        raise PreceptorError(f"{path} is empty", expected="a CSV file with a header")
    header = rows[0][1]
    _check_header(path, header, columns)
    uneven = [line for line, row in rows if len(row) != len(header)]
    if uneven:
        raise PreceptorError(
            f"{path}: these lines do not have {len(header)} fields: {some_of(uneven)}",
            expected=f"as many fields as the header: {', '.join(header)}",
            remedy="quote fields that contain the separator",
        )
    table = pd.DataFrame([row for _, row in rows[1:]], columns=header, dtype=str)
    table[LINE] = [line for line, _ in rows[1:]]
    return table


def is_missing(values: pd.Series) -> pd.Series:
    """Which strings stand for a missing value: empty, blank, or the ``nan`` that numeric programs write."""
    return values.str.strip().str.lower().isin(["", "nan"])


def refuse_missing(path: Path, table: pd.DataFrame, column: str) -> None:
    """Raise :class:`PreceptorError` with the lines of ``path`` on which ``column`` has no value."""
    lines = table.loc[is_missing(table[column]), LINE]
    if len(lines):
        raise PreceptorError(
            f"{path}: no {column!r} on line {some_of(lines)}",
            expected=f"a value in the column {column!r} of every row",
            remedy="fill it in, or remove the rows",
        )


def _check_header(path: Path, header: list[str], columns: Iterable[str]) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise PreceptorError(f"{path}: the header names these columns twice: {some_of(twice)}")
    refuse_absent(path, header, columns)


def refuse_absent(path: Path, header: Iterable[str], columns: Iterable[str]) -> None:
    """Raise :class:`PreceptorError` where ``header``, that of ``path``, lacks one of ``columns``."""
    header, columns = list(header), list(columns)
    missing = [name for name in columns if name not in header]
    if missing:
        raise PreceptorError(
            f"{path} has no column {missing[0]!r}.{did_you_mean(missing[0], header)}",
            expected=f"a header with {', '.join(columns)}; it has {some_of(header)}",
        )
