"""A metric: in metrics.json, histories, reports, study tables and select.metric once it is registered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluation.metrics import register_metric


@register_metric("mean_margin", label="mean margin", tasks=["classification"], higher_is_better=True)
def mean_margin(targets: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Mean difference between the two largest probabilities of an image."""
    two = np.sort(probabilities, axis=1)[:, -2:]
    return float((two[:, 1] - two[:, 0]).mean())
