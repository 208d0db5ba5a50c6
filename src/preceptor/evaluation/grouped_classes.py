"""Figures of groups of classes, such as "malignant": melanoma, basal cell carcinoma and intraepithelial carcinoma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluation.detection import ranking_metrics
from preceptor.evaluation.metrics.registry import Floats


def group_metrics(
    targets: NDArray[np.integer], probabilities: Floats, classes: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """Return the figures of each group of classes against all others, ready for ``metrics.json``.

    An image is called positive where the predicted class is in the group. Areas are of the sum of the group's
    probabilities; thresholds on it are chosen by reports, which know the validation part.

    Args:
        targets: (N,) class indices.
        probabilities: (N, C).
        classes: C names.
        groups: name → classes that count as positive.

    Returns:
        Group → ``positives``, ``negatives``, ``sensitivity``, ``specificity``, ``auc`` and ``partial_auc`` (above 80 %
        sensitivity), None where they are undefined.

    >>> scores = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    >>> group_metrics(np.array([0, 1, 2]), scores, ["bcc", "mel", "nv"], {"malignant": ["bcc", "mel"]})["malignant"]
    {'positives': 2, 'negatives': 1, 'sensitivity': 1.0, 'specificity': 1.0, 'auc': 1.0, 'partial_auc': 0.2}
    """
    predicted = probabilities.argmax(axis=1)
    result = {}
    for name, members in groups.items():
        index = [list(classes).index(member) for member in members]
        truth, called = np.isin(targets, index), np.isin(predicted, index)
        areas = {key: metric(targets, probabilities) for key, metric in ranking_metrics(index).items()}
        result[name] = {
            "positives": int(truth.sum()),
            "negatives": int((~truth).sum()),
            "sensitivity": float(called[truth].mean()) if truth.any() else None,
            "specificity": float((~called[~truth]).mean()) if not truth.all() else None,
            **{key: None if value is None else round(value, 12) for key, value in areas.items()},
        }
    return result
