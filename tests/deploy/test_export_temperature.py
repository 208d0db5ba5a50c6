"""The temperature of an export is the one that reports show."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from preceptor.deploy.export.calibrate import calibrate
from preceptor.report.network_predictions import NetworkPredictions, Predictions


@pytest.mark.parametrize("impossible", [0.0, 1e-200], ids=["rounded to zero", "nearly"])
def test_a_sure_mistake_gives_exports_and_reports_the_same_temperature(impossible: float) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 2000)
    right = np.where(np.arange(2000) < 1700, 0.95, 0.3)
    right[0] = impossible
    probabilities = np.stack([np.where(targets == 0, right, 1 - right), np.where(targets == 1, right, 1 - right)], 1)
    table = pd.DataFrame(
        {"target": np.array(["a", "b"])[targets], "p_a": probabilities[:, 0], "p_b": probabilities[:, 1]}
    )
    subject: Any = SimpleNamespace(
        masks=False,
        target="class",
        classes=("a", "b"),
        run=SimpleNamespace(recipe=SimpleNamespace(task="classification")),
        predictions=lambda part: table,
    )
    ids = np.arange(2000).astype(str)
    part = Predictions(ids, targets, probabilities, ids)
    entry: Any = None
    reported = NetworkPredictions(entry, part, part, entry).temperature
    assert reported is not None
    assert calibrate(subject).temperature == pytest.approx(reported, abs=1e-6)
