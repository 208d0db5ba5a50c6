"""A study whose cells are of several processes each."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from preceptor import train
from preceptor.study.engines.local import LocalEngine
from preceptor.study.matrix import expand
from preceptor.study.overrides import CommandLine, resolve_plan
from preceptor.study.scheduler import open_study, run_cells
from small_study import PLAN, SETTINGS, plan


def test_every_run_of_a_study_has_its_processes() -> None:
    """That of a teacher, which is trained first, too."""
    matrix = expand(resolve_plan(plan(devices=2)), "data", Path("nowhere"))
    assert [planned.processes for planned in matrix.runs.values()] == [2, 2, 2]


@pytest.mark.usefixtures("no_reports")
def test_a_cell_of_two_processes_is_the_run_that_train_makes_of_them(phantom_root: Path, tmp_path: Path) -> None:
    text = plan(rows=PLAN["rows"][:1], devices=2)
    study = open_study(resolve_plan(text, CommandLine(root=phantom_root)), tmp_path / "study")
    run_cells(study, lambda: LocalEngine(1, 1, 2), 1)
    (cell,) = json.loads((tmp_path / "study/cells.json").read_text())
    assert (cell["state"], cell["error"]) == ("done", "")
    overrides = {key: value for key, value in SETTINGS.items() if "teacher" not in key}
    alone = train("student", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=overrides, devices=2)
    for run in (alone.path, tmp_path / "study" / cell["run"]):
        assert json.loads((run / "environment.json").read_text())["processes"] == 2
    one, other = (pd.read_csv(run / "predictions.csv") for run in (alone.path, tmp_path / "study" / cell["run"]))
    pd.testing.assert_frame_equal(one, other, rtol=1e-5)
