"""predictions.csv: what every network said about every image of a part.

Columns: ``id``, ``part``, ``network``, ``target`` and ``predicted`` (class names), then ``p_<class>`` in class order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from preceptor.evaluation.score_columns import score_columns
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
