"""Figures and rows of ``predictions.csv`` from targets and probabilities of a classifier. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preceptor.evaluation.classification import classification_metrics
from preceptor.evaluation.labels import label_metrics, label_rows
from preceptor.evaluation.predictions import prediction_rows
from preceptor.tasks import TASKS


def measured(
    task: str,
    targets: NDArray[np.generic],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    ids: Sequence[str],
    *,
    part: str,
    network: str,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the figures of ``metrics.json`` and the rows of ``predictions.csv``.

    Args:
        task: one whose targets are a class (targets (N,), rows of probabilities sum to one) or labels (targets (N, L),
            NaN where not known) per image.
        targets: see ``task``.
        probabilities: (N, C).
    """
    metrics = TASKS[task].metrics
    if TASKS[task].target == "labels":
        truth = np.asarray(targets, dtype=np.float64)
        rows = label_rows(ids, truth, probabilities, classes, part=part, network=network)
        return label_metrics(truth, probabilities, classes, metrics), rows
    rows = prediction_rows(ids, targets, probabilities, classes, part=part, network=network)
    return classification_metrics(targets, probabilities, classes, metrics), rows
