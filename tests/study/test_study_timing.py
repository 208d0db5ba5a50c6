"""How long a study's runs are thought to take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from preceptor.cli.study_console import describe
from preceptor.recipe import Recipe
from preceptor.study import timing
from preceptor.study.estimate import remaining
from preceptor.study.overrides import CommandLine, resolve_plan
from preceptor.study.scheduler import open_study
from small_study import SETTINGS, plan

ALONE = {key: value for key, value in SETTINGS.items() if "teacher" not in key}


@pytest.mark.parametrize("how", ["over", "under"])
def test_an_epoch_is_as_long_as_what_it_draws(
    how: str, phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an image takes a second of training, and looks take no time."""
    monkeypatch.setattr(timing, "_pace", lambda *_: timing._Pace(1.0, 0.0))

    def seconds(resample: str) -> tuple[float, np.ndarray]:
        rows = [{"name": "alone", "recipe": "student"}]
        asked = plan(rows=rows, set={**SETTINGS, "epochs": 3, "resample": resample})
        study = open_study(resolve_plan(asked, CommandLine(root=phantom_root)), tmp_path / "study")
        (planned,) = study.matrix.runs.values()
        split = timing.split_of(study.catalog, planned.recipe, planned.fold)
        train = split.loc[split["part"] == "train", "label"]
        (result,) = timing.time_runs([planned], study.catalog, 1).seconds.values()
        return result, train.value_counts().to_numpy()

    plain, counts = seconds("none")
    assert plain == 3 * counts.sum()
    result, _ = seconds(how)
    assert result == 3 * len(counts) * (counts.max() if how == "over" else counts.min())
    assert result != plain


def test_no_step_of_a_slow_network_is_longer_than_needed(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an image takes a second, nothing larger than the smallest batch is tried, in evaluation neither."""
    sizes: list[int] = []
    batches = timing.Loader.batches

    def recorded(loader: timing.Loader, rows: list[np.ndarray]) -> object:
        sizes.extend(map(len, rows))
        return batches(loader, rows)

    def slow(work: Callable[[], object]) -> float:
        work()
        return float(sizes[-1])

    monkeypatch.setattr(timing.Loader, "batches", recorded)
    monkeypatch.setattr(timing, "_seconds", slow)
    rows = [{"name": "alone", "recipe": "student"}, {"name": "mean", "recipe": "mean_teacher"}]
    study = open_study(resolve_plan(plan(rows=rows, set=ALONE), CommandLine(root=phantom_root)), tmp_path / "study")
    timed = timing.time_runs(study.matrix.runs.values(), study.catalog, 1)
    assert sizes == [timing.LEAST] * 3  # a step of each; evaluation once, of networks that cost the same
    alone, mean = timed.seconds.values()
    images = timing.split_of(study.catalog, study.matrix.cells[0].run.recipe, 0)["part"].value_counts()
    evaluated = 2 * images["validation"] + images["test"]
    assert (alone, mean) == (images["train"] + evaluated, images["train"] + 2 * evaluated)


def test_runs_of_unknown_length_say_why(phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study(resolve_plan(plan(), CommandLine(root=phantom_root)), tmp_path / "study")
    late = timing.time_runs(study.matrix.runs.values(), study.catalog, 1, budget=0.0)
    assert set(late.unknown) == set(study.matrix.runs)
    text = describe(remaining(study, late), 1)
    assert text == "unknown until the first cell is done (timing ended after 0 s, before their recipe had its turn)"

    def pace(recipe: Recipe, *_: object) -> timing._Pace | str:
        return "precision: no GPU" if recipe.name == "kd" else timing._Pace(1.0, 1.0)

    monkeypatch.setattr(timing, "_pace", pace)
    text = describe(remaining(study, timing.time_runs(study.matrix.runs.values(), study.catalog, 1)), 1)
    assert text.endswith("; and 1 run of unknown length (precision: no GPU)")
    assert "the start and the report of each run" in text
