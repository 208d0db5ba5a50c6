"""A CSV file to a table of strings, strictly."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

import pandas as pd

from preceptor.utils.errors import PreceptorError, did_you_mean, some_of

#: Column of the tables of :func:`read_csv` that holds the line of the file on which a row ends (1 is the header).
LINE = "line of the file"
#: Words that statistics programs, data bases and people write where a value is missing, lower case.
MISSING_WORDS = frozenset(
    {"", "nan", "na", "n/a", "#n/a", "<na>", "null", "none", "nil", "unknown", "missing", "not available",
     ".", "-", "--", "?"}
)  # fmt: skip

_SEPARATORS = (";", "\t", "|", ",")
_SEP_LINE = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)  # the first line that Excel writes and reads
_ESCAPES = {r"\t": "\t"}


def read_csv(path: Path, columns: Iterable[str], *, separator: str = ",", encoding: str = "utf-8") -> pd.DataFrame:
    """The rows of a CSV file as strings, with :data:`LINE` beside them.

    Not pandas' own reader: it takes a row with one field too many for an index, fills short rows, and turns classes
    named "NA" or "None" into missing values and "0" into 0.0 when a value is missing below.

    Args:
        path: a file with a header (a byte order mark, and a first line ``sep=;`` as Excel writes it, are accepted).
            Columns without a name and without values, as spreadsheets leave them, are passed over.
        columns: names that the header must have.
        separator: what stands between two fields; ``\\t`` for a tab.
        encoding: of the text.

    Raises:
        PreceptorError: no such file, not text, no header, a missing or repeated column, a row of another length.
    """
    separator = _ESCAPES.get(separator, separator)
    text = _text(path, encoding)
    lines_before = 0
    if declared := _SEP_LINE.match(text):
        separator, text, lines_before = declared[1], text[declared.end() :], 1
    try:
        reader = csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)
        rows = [(reader.line_num + lines_before, row) for row in reader if row]
    except (csv.Error, TypeError) as error:
        raise PreceptorError(f"{path} cannot be read: {error}", expected="a CSV file in UTF-8 with a header") from error
    if not rows:
        raise PreceptorError(f"{path} is empty", expected="a CSV file with a header")
    header = rows[0][1]
    _refuse_other_separator(path, header, separator)
    uneven = [line for line, row in rows if len(row) != len(header)]
    if uneven:
        raise PreceptorError(
            f"{path}: these lines do not have {len(header)} fields: {some_of(uneven)}",
            expected=f"as many fields as the header: {some_of(header)}",
            remedy="quote fields that contain the separator",
        )
    table = pd.DataFrame([row for _, row in rows[1:]], dtype=str, columns=range(len(header)))
    nameless = [index for index, name in enumerate(header) if not name.strip() and (table[index] == "").all()]
    table = table.drop(columns=nameless)
    header = [name for index, name in enumerate(header) if index not in set(nameless)]
    _check_header(path, header, columns)
    table.columns = pd.Index(header)
    table[LINE] = [line for line, _ in rows[1:]]
    return table


def is_missing(values: pd.Series) -> pd.Series:
    """Which strings stand for a missing value: empty, blank, or the ``nan`` that numeric programs write."""
    return values.str.strip().str.lower().isin(["", "nan"])


def is_unknown(values: pd.Series) -> pd.Series:
    """Which strings stand for a missing value in the widest sense: any of :data:`MISSING_WORDS`."""
    return values.str.strip().str.lower().isin(MISSING_WORDS)


def refuse_missing(path: Path, table: pd.DataFrame, column: str) -> None:
    """Raise :class:`PreceptorError` with the lines of ``path`` on which ``column`` has no value."""
    lines = table.loc[is_missing(table[column]), LINE]
    if len(lines):
        raise PreceptorError(
            f"{path}: no {column!r} on line {some_of(lines)}",
            expected=f"a value in the column {column!r} of every row",
            remedy="fill it in, or remove the rows",
        )


def refuse_absent(path: Path, header: Iterable[str], columns: Iterable[str]) -> None:
    """Raise :class:`PreceptorError` where ``header``, that of ``path``, lacks one of ``columns``."""
    header, columns = list(header), list(columns)
    missing = [name for name in columns if name not in header]
    if missing:
        raise PreceptorError(
            f"{path} has no column {missing[0]!r}.{did_you_mean(missing[0], header)}",
            expected=f"a header with {', '.join(columns)}; it has {some_of(header)}",
        )


def _text(path: Path, encoding: str) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise PreceptorError(f"{path} does not exist", expected="a CSV file") from None
    except OSError as error:
        raise PreceptorError(f"{path} cannot be read: {error.strerror}", expected="a CSV file") from error
    try:
        return content.decode("utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding)
    except LookupError:
        raise PreceptorError(
            f"there is no encoding {encoding!r}", expected="a name such as utf-8, utf-16 or cp1252"
        ) from None
    except UnicodeDecodeError as error:
        what, remedy = _not_this_encoding(content)
        raise PreceptorError(
            f"{path} cannot be read: {what or error}", expected=f"a CSV file in {encoding.upper()} with a header",
            remedy=remedy,
        ) from None  # fmt: skip


def _not_this_encoding(content: bytes) -> tuple[str, str]:
    """What the bytes look like instead of text in UTF-8, and what to do."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it is UTF-16 (Excel: Unicode text)", "save it as CSV UTF-8; --data table has data.encoding=utf-16"
    if content.startswith(b"PK\x03\x04"):
        return "it is a workbook (.xlsx) or a ZIP archive", "save the sheet as CSV UTF-8"
    return "", "save it as CSV UTF-8; --data table has data.encoding=cp1252 for text of Windows in western Europe"


def _refuse_other_separator(path: Path, header: list[str], separator: str) -> None:
    if len(header) != 1:
        return
    counts = {other: header[0].count(other) for other in _SEPARATORS if other != separator}
    likely = max(counts, key=counts.__getitem__)
    if counts[likely]:
        shown = {"\t": r"\t"}.get(likely, likely)
        raise PreceptorError(
            f"{path}: the header is one field with the separator {separator!r}: {header[0][:100]}",
            expected=f"fields with {separator!r} between them; here {shown!r} seems to be",
            remedy=f"--data table takes it with data.separator='{shown}'; or save the table with commas",
        )


def _check_header(path: Path, header: list[str], columns: Iterable[str]) -> None:
    counts = Counter(header)
    if counts[""] > 1:
        raise PreceptorError(
            f"{path}: {counts['']} columns have values and no name", expected="a name for each column with values"
        )
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise PreceptorError(f"{path}: the header names these columns twice: {some_of(twice)}")
    refuse_absent(path, header, columns)
