"""The figures of a network with several labels per image, and its rows of ``predictions.csv``. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from preceptor.evaluation.metrics import Metric
from preceptor.evaluation.metrics.multi_label import label_auc, label_average_precision
from preceptor.evaluation.metrics.registry import Floats, values_of
from preceptor.evaluation.score_columns import score_columns


def label_metrics(
    targets: Floats, probabilities: Floats, labels: Sequence[str], metrics: Mapping[str, Metric]
) -> dict[str, Any]:
    """Return the metrics of one network on one part, ready for JSON.

    Args:
        targets: (N, L), 1, 0 or NaN where a label is not known.
        probabilities: (N, L).

    Returns:
        ``cases``; each metric, None where it is undefined; and ``per_label``: of each label ``positives``, ``known``,
        ``auc`` and ``average_precision``, None where it has no positive or no negative.
    """
    targets = np.asarray(targets, dtype=np.float64)
    areas, precisions = label_auc(targets, probabilities), label_average_precision(targets, probabilities)
    return {
        "cases": len(targets),
        **values_of(metrics, targets, probabilities),
        "per_label": {
            name: {
                "positives": int((targets[:, index] == 1).sum()),
                "known": int((~np.isnan(targets[:, index])).sum()),
                "auc": _or_none(areas[index]),
                "average_precision": _or_none(precisions[index]),
            }
            for index, name in enumerate(labels)
        },
    }


def label_rows(
    ids: Sequence[str], targets: Floats, probabilities: Floats, labels: Sequence[str], *, part: str, network: str
) -> pd.DataFrame:
    """Return the rows of ``predictions.csv``: ``t_<label>`` (empty where not known) and ``p_<label>`` of each label."""
    keys = pd.DataFrame({"id": list(ids), "part": part, "network": network})
    truth = pd.DataFrame(np.asarray(targets, dtype=np.float64), columns=[f"t_{name}" for name in labels])
    return pd.concat([keys, truth, pd.DataFrame(probabilities, columns=score_columns(labels))], axis=1)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
