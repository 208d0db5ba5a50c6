"""How long a study's runs are thought to take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from preceptor.study import timing
from preceptor.study.overrides import CommandLine, resolve_plan
from preceptor.study.scheduler import open_study
from small_study import SETTINGS, plan


@pytest.mark.parametrize("how", ["over", "under"])
def test_an_epoch_is_as_long_as_what_it_draws(
    how: str, phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an image takes a second of training, and looks take no time."""
    monkeypatch.setattr(timing, "_pace", lambda *_: (1.0, 0.0))

    def seconds(resample: str) -> tuple[float, np.ndarray]:
        rows = [{"name": "alone", "recipe": "student"}]
        asked = plan(rows=rows, set={**SETTINGS, "epochs": 3, "resample": resample})
        study = open_study(resolve_plan(asked, CommandLine(root=phantom_root)), tmp_path / "study")
        (planned,) = study.matrix.runs.values()
        split = timing.split_of(study.catalog, planned.recipe, planned.fold)
        train = split.loc[split["part"] == "train", "label"]
        (result,) = timing.time_runs([planned], study.catalog, 1).values()
        return result, train.value_counts().to_numpy()

    plain, counts = seconds("none")
    assert plain == 3 * counts.sum()
    result, _ = seconds(how)
    assert result == 3 * len(counts) * (counts.max() if how == "over" else counts.min())
    assert result != plain
