"""predictions.csv: what every network said about every image of a part.

Columns: ``id``, ``part``, ``network``, ``target`` and ``predicted`` (class names), then ``p_<class>`` in class order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from preceptor.evaluation.score_columns import PREFIX, score_columns
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_text

KEYS = ("id", "part", "network", "target", "predicted")


def prediction_rows(
    ids: Sequence[str],
    targets: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    *,
    part: str,
    network: str,
) -> pd.DataFrame:
    """The rows of one network on one part, in the order given.

    Args:
        ids: N image ids.
        targets: (N,) class indices.
        probabilities: (N, C), rows sum to one.
        classes: the C class names.
        part: ``validation`` or ``test``.
        network: the network's name in the recipe.

    Raises:
        ValueError: when the lengths disagree.
    """
    true, scores = np.asarray(targets), np.asarray(probabilities)
    if scores.shape != (len(ids), len(classes)) or true.shape != (len(ids),):
        raise ValueError(
            f"{len(ids)} ids and {len(classes)} classes, but targets {true.shape} and probabilities {scores.shape}"
        )
    names = np.asarray(classes, dtype=object)
    keys = pd.DataFrame({"id": list(ids), "part": part, "network": network})
    keys["target"], keys["predicted"] = names[true], names[scores.argmax(axis=1)]
    return pd.concat([keys, pd.DataFrame(scores, columns=score_columns(classes))], axis=1)


def write_predictions(frames: Iterable[pd.DataFrame], path: Path) -> None:
    """Writes the frames of :func:`prediction_rows` as one CSV; a killed process leaves the old file or the new one."""
    write_text(path, pd.concat(list(frames), ignore_index=True).to_csv(index=False))


def read_predictions(path: Path) -> pd.DataFrame:
    """What :func:`write_predictions` wrote: ids and class names as text, probabilities as float64.

    Raises:
        PreceptorError: when the file is missing, is no CSV, or lacks a column.
    """
    try:
        # Ids such as 0012, and classes called "NA" or "1", are text and stay so.
        table = pd.read_csv(path, dtype=dict.fromkeys(KEYS, str), keep_default_na=False)
    except FileNotFoundError as error:
        raise PreceptorError(f"{path} does not exist", expected="the predictions of a finished run") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise PreceptorError(f"{path} cannot be read as CSV: {error}", expected="a table of predictions") from error
    scores = [name for name in table.columns if name.startswith(PREFIX)]
    missing = [name for name in KEYS if name not in table.columns] or ([] if scores else [f"{PREFIX}<class>"])
    if missing:
        raise PreceptorError(
            f"{path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
            expected=f"{', '.join(KEYS)} and one {PREFIX}<class> for each class",
        )
    for name in scores:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise PreceptorError(f"{path}: column {name} holds something that is not a number")
    return table.astype(dict.fromkeys(scores, np.float64))
