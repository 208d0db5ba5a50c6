"""The CSV tables of a run, read with text as text and numbers as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from preceptor.evaluation.score_columns import PREFIX
from preceptor.runs.schema import Metrics
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError

HISTORY = ("epoch", "lr", "loss")
_MOST_EPOCHS = 10**9
_KEYS = ("id", "part", "network")
_TEXT = ("id", "group", "part", "label", "network", "target", "predicted")  # never numbers, never missing


def read_history(path: Path) -> pd.DataFrame:
    """Read ``history.csv``: one row per epoch.

    Raises:
        PreceptorError: the file is missing or damaged, or holds something other than numbers.
    """
    table = read_table(path, HISTORY)
    _require_numbers(path, table, filled=HISTORY)
    if table.empty or not (
        pd.api.types.is_integer_dtype(table["epoch"]) and table["epoch"].between(1, _MOST_EPOCHS).all()
    ):
        raise PreceptorError(
            f"{path}: the column epoch does not hold epochs",
            expected="1, 2, 3, …",
            remedy=f"preceptor resume {path.parent} writes the file again where the run is unfinished",
        )
    return table


def read_predictions(path: Path, metrics: Metrics) -> pd.DataFrame:
    """Read ``predictions.csv``, and check it against what ``metrics.json`` says of the run.

    Returns:
        One row per image, part and network. Of classes: ``target`` and ``predicted`` (text) and one ``p_<class>`` each;
        of masks: what :meth:`preceptor.evaluation.masks.MaskMeter.rows` says of each image.

    Raises:
        PreceptorError: the file is missing or damaged, or lacks a column, or the test rows of a network.
    """
    table = read_table(path, (*_KEYS, *TASKS[metrics.task].prediction_columns(metrics.classes)))
    scores = [name for name in table.columns if name.startswith(PREFIX)]
    _require_numbers(path, table, filled=scores)
    tested = set(table.loc[table["part"] == "test", "network"])
    if silent := [name for name in metrics.networks if name not in tested]:
        raise PreceptorError(
            f"{path} holds no test row of the network {', '.join(silent)}",
            expected="rows of every network that metrics.json names",
            remedy=f"preceptor evaluate {path.parent}",
        )
    return table


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV file with at least these columns; "NA" is a name like any other, an empty number is no value.

    Raises:
        PreceptorError: the file is missing, is no CSV, or lacks a column.
    """
    if not path.is_file():
        raise PreceptorError(f"{path} is missing", expected="a whole run directory")
    try:
        text = dict.fromkeys(_TEXT, str)
        header = pd.read_csv(path, nrows=0).columns
        absent = {name: ([] if name in text else [""]) for name in header}
        table = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=absent)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise PreceptorError(f"{path} cannot be read as CSV: {error}") from error
    if missing := [name for name in columns if name not in table.columns]:
        raise PreceptorError(f"{path} lacks the column {', '.join(missing)}", expected=", ".join(columns))
    return table


def _require_numbers(path: Path, table: pd.DataFrame, filled: Sequence[str]) -> None:
    """Raise :class:`PreceptorError` where a column holds something other than numbers, or one of ``filled`` nothing."""
    for name in [name for name in table.columns if name not in _TEXT]:
        numbers = pd.to_numeric(table[name], errors="coerce")
        wrong = numbers.isna() & (table[name].notna() | (name in filled))
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise PreceptorError(
                f"{path}: line {row + 2}: the column {name} holds {str(table[name].iloc[row])[:60]!r}",
                expected="a number",
                remedy="restore the file from a copy of the run",
            )


def metrics_table(metrics: Metrics) -> pd.DataFrame:
    """Return the test metrics: one row per network or ensemble, one column per metric that is one number."""
    rows = {
        name: {key.replace("_", " "): value for key, value in result.test.items() if isinstance(value, float)}
        for name, result in metrics.networks.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")
