"""A study whose cells are of several processes each."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from preceptor import train
from preceptor.runs.create import Data
from preceptor.study.engines.local import LocalEngine
from preceptor.study.matrix import expand
from preceptor.study.overrides import CommandLine, resolve_plan
from preceptor.study.scheduler import open_study, run_cells
from preceptor.study.worker import Job
from preceptor.utils.errors import PreceptorError
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


class Ended:
    """Processes of a server that was ended as often as ``times`` says."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.threads: list[str | None] = []

    def Pipe(self, duplex: bool) -> tuple[Any, Any]:  # noqa: N802 - as multiprocessing has it
        return multiprocessing.Pipe(duplex)

    def Process(self, **_: object) -> Any:  # noqa: N802
        return SimpleNamespace(start=self.start)

    def start(self) -> None:
        self.threads.append(os.environ.get("OMP_NUM_THREADS"))
        if len(self.threads) <= self.times:
            raise EOFError


def test_a_worker_is_started_by_a_new_server_where_the_first_was_ended(tmp_path: Path) -> None:
    """With the threads of the first, on which the last bits depend; typer calls an EOFError "Aborted!"."""
    job = Job("1", tmp_path / "cell", {}, Data("phantom"), 3, 1, None, tmp_path / "log")
    engine = LocalEngine(1, 3, 1)
    engine._context = Ended(1)
    engine.submit(job)
    assert engine._context.threads == ["3", "3"]
    assert engine.running() == {"1"}
    engine = LocalEngine(1, 3, 1)
    engine._context = Ended(2)
    with pytest.raises(PreceptorError, match="no process can be started for cell"):
        engine.submit(job)
