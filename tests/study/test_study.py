"""Studies: every cell runs once, whatever happens meanwhile, and wherever it runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from fake_run import write_fake_run
from preceptor import train
from preceptor.cli.study_console import describe, matrix_table, result_table
from preceptor.runs.create import Data
from preceptor.runs.directory import Run
from preceptor.runs.marks import NOT_EVIDENCE
from preceptor.study import timing
from preceptor.study.engines import Engine
from preceptor.study.engines.local import LocalEngine
from preceptor.study.estimate import remaining
from preceptor.study.outcome import Outcome
from preceptor.study.overrides import CommandLine, resolve_plan
from preceptor.study.plan import to_yaml
from preceptor.study.scheduler import Study, open_study, run_cells
from preceptor.study.state import threads_before
from preceptor.study.worker import Job, _prepared, work
from preceptor.utils.errors import PreceptorError
from small_study import PLAN, SETTINGS, plan
from waiting import epochs_done, wait_for


class InThisProcess:
    """An engine without processes: what is asked of the study does not depend on where cells run."""

    workers = 1

    def __init__(self, *, fails: str = "", dies_after: int = 1000) -> None:
        self.fails, self.dies_after = fails, dies_after
        self.queue: list[Job] = []
        self.worked: list[str] = []

    def submit(self, job: Job) -> None:
        self.queue.append(job)

    def results(self, seconds: float) -> list[Outcome]:
        if len(self.worked) == self.dies_after:
            raise KeyboardInterrupt
        job = self.queue.pop(0)
        self.worked.append(job.path.name.rsplit("-", 1)[0])
        if self.fails and self.worked[-1].startswith(self.fails):
            return [Outcome(job.identity, "failed", "no luck")]
        return [work(job)]

    def running(self) -> set[str]:
        return set()

    def close(self) -> None:
        self.queue.clear()


def run(engine: Engine, root: Path, out: Path, **changes: Any) -> Study:
    study = open_study(resolve_plan(plan(**changes), CommandLine(root=root)), out)
    run_cells(study, lambda: engine, 1)
    return study


def table(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "cells.json").read_text())


@pytest.fixture(scope="module")
def once(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, InThisProcess]:
    """A study of three rows, two of which share a teacher, as it ends when nothing happens."""
    out, engine = tmp_path_factory.mktemp("once") / "study", InThisProcess()
    run(engine, phantom_root, out, rows=[*PLAN["rows"], {"name": "FitNet", "recipe": "fitnet"}])
    return out, engine


def test_each_run_once(once: tuple[Path, InThisProcess], phantom_root: Path) -> None:
    out, engine = once
    assert sorted(engine.worked) == ["FitNet-fold0-seed0", "KD-fold0-seed0", "alone-fold0-seed0", "teacher-fold0-seed0"]
    assert [(cell["name"], cell["state"], cell["quick"]) for cell in table(out)] == [
        ("alone", "done", False), ("KD", "done", False), ("FitNet", "done", False)
    ]  # fmt: skip
    for cell in table(out):
        assert (out / cell["run"] / "metrics.json").is_file()
        assert cell["seconds"] > 0
    shared = json.loads((out / "shared.json").read_text())
    assert [item["used_by"] for item in shared] == [["KD, fold 0, seed 0", "FitNet, fold 0, seed 0"]]
    again = InThisProcess(dies_after=0)  # it would be stopped by the first thing that it has to do
    study = run(again, phantom_root, out, rows=[{"name": "B1", "recipe": "student"}, PLAN["rows"][1]], baseline="B1")
    assert [cell["run"].rsplit("-", 1)[0] for cell in table(out)] == [
        "cells/alone-fold0-seed0", "cells/KD-fold0-seed0"
    ]  # fmt: skip
    assert (study.count("done"), describe(remaining(study), 2)) == (2, "nothing is left to do")
    assert yaml.safe_load((out / "study.yaml").read_text())["threads"] == 1
    rendered = result_table(study)
    assert [column.header for column in rendered.columns] == ["row", "network", "cells", "ACC"]
    with pytest.raises(PreceptorError, match=r"threads is 2; the cells in .* had 1"):
        threads_before(out, plan(threads=2))


def test_only_what_changed_runs_again(once: tuple[Path, InThisProcess], phantom_root: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(once[0], tmp_path / "study")
    engine = InThisProcess()
    rows = [PLAN["rows"][0], {"name": "KD", "recipe": "kd", "set": {"temperature": 2.0}}]
    study = run(engine, phantom_root, tmp_path / "study", rows=rows)
    assert engine.worked == ["KD-fold0-seed0"]
    assert study.count("done") == 2


def test_a_cell_is_the_run_that_train_makes(
    once: tuple[Path, InThisProcess], phantom_root: Path, tmp_path: Path
) -> None:
    alone = train("kd", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=SETTINGS)
    cell = next(cell for cell in table(once[0]) if cell["name"] == "KD")
    for name in ("predictions.csv", "student.safetensors"):
        assert (alone.path / name).read_bytes() == (once[0] / cell["run"] / name).read_bytes()


def test_failures_are_written_down_while_others_go_on(phantom_root: Path, tmp_path: Path) -> None:
    """A teacher fails: its student cannot start, and says why; the rest is done. Asked again, it is tried again."""
    study = run(InThisProcess(fails="teacher"), phantom_root, tmp_path / "study", seeds=[0])
    alone, taught = table(tmp_path / "study")
    assert (alone["state"], taught["state"]) == ("done", "failed")
    assert taught["error"].startswith("needs shared/teacher-fold0-seed0-")
    assert json.loads((tmp_path / "study" / "shared.json").read_text())[0]["error"] == "no luck"
    assert matrix_table(study).row_count == 2
    engine = InThisProcess(dies_after=0)
    with pytest.raises(KeyboardInterrupt):
        run(engine, phantom_root, tmp_path / "study")
    assert [cell["state"] for cell in table(tmp_path / "study")] == ["done", "failed"]  # until it has been tried


def test_quick_is_marked(phantom_root: Path, tmp_path: Path) -> None:
    quick = {"set": {"epochs": 1}, "rows": ["alone"]}
    study = open_study(resolve_plan(plan(quick=quick), CommandLine(quick=True, root=phantom_root)), tmp_path / "study")
    with pytest.raises(KeyboardInterrupt):
        run_cells(study, lambda: InThisProcess(dies_after=0), 1)
    assert [(cell["state"], cell["quick"]) for cell in table(tmp_path / "study")] == [("pending", True)]
    assert yaml.safe_load((tmp_path / "study" / "study.yaml").read_text())["quick"] is True
    for shown in (matrix_table(study), result_table(study)):
        console = Console(width=200)
        with console.capture() as text:
            console.print(shown)
        assert "(quick: not evidence)" in text.get().splitlines()[0]
    with pytest.raises(PreceptorError, match="holds a quick study, and this is a study at full size"):
        open_study(resolve_plan(plan(quick=quick), CommandLine(root=phantom_root)), tmp_path / "study")


def test_runs_of_a_quick_study_are_marked(tmp_path: Path) -> None:
    """Those too that an older version has left without a mark."""
    path = write_fake_run(tmp_path / "run")
    job = Job("a", path, {}, Data("phantom"), 1, 1, None, tmp_path / "log")
    assert _prepared(job).environment.marked == ""
    assert _prepared(replace(job, mark=NOT_EVIDENCE)).environment.marked == NOT_EVIDENCE
    assert Run(path).environment.marked == NOT_EVIDENCE


def test_tasks_of_a_quick_study_carry_its_mark(phantom_root: Path, tmp_path: Path) -> None:
    for quick in (False, True):
        asked = CommandLine(quick=quick, root=phantom_root)
        study = open_study(resolve_plan(plan(quick={"rows": ["alone"]}), asked), tmp_path / str(quick))
        engine = InThisProcess(dies_after=0)
        engine.close = lambda: None  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            run_cells(study, lambda engine=engine: engine, 1)  # type: ignore[misc]
        assert {job.mark for job in engine.queue} == {NOT_EVIDENCE if quick else ""}


def test_a_folder_of_another_study_is_refused(once: tuple[Path, InThisProcess], phantom_root: Path) -> None:
    with pytest.raises(PreceptorError, match="holds the study 'tiny'"):
        open_study(resolve_plan(plan(name="other"), CommandLine(root=phantom_root)), once[0])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cells.json", "[{", r"cells\.json: cannot be read \(JSONDecodeError"),
        ("shared.json", '["a"]', r"shared\.json: cannot be read"),
        ("study.yaml", "name: [", r"study\.yaml: is not readable as YAML"),
        ("", "", r"study is a file"),
    ],
)
def test_a_damaged_folder_is_one_clear_error(
    phantom_root: Path, tmp_path: Path, name: str, content: str, message: str
) -> None:
    out = tmp_path / "study"
    if name:
        out.mkdir()
    (out / name).write_text(content)
    with pytest.raises(PreceptorError, match=message):
        open_study(resolve_plan(plan(rows=PLAN["rows"][:1]), CommandLine(root=phantom_root)), out)


# --- engines -------------------------------------------------------------------------------------------------------


def results(out: Path) -> dict[str, bytes]:
    result = {}
    for cell in table(out):
        assert cell["state"] == "done", cell["error"]
        for name in ("predictions.csv", "student.safetensors"):
            result[f"{cell['run']}/{name}"] = (out / cell["run"] / name).read_bytes()
    return result


def local(workers: int) -> LocalEngine:
    return LocalEngine(workers, 1, 1)


def test_any_number_of_workers_gives_the_same(
    once: tuple[Path, InThisProcess], phantom_root: Path, tmp_path: Path
) -> None:
    """Two processes at once, against one after another in this process; and a recipe that cannot work fails alone."""
    broken = {"name": "broken", "recipe": "student", "set": {"optimiser.lr": 1e30, "optimiser.name": "sgd"}}
    out = tmp_path / "study"
    study = run(local(2), phantom_root, out, rows=[broken, *PLAN["rows"]])
    assert study.count("failed") == 1
    failed, *_ = table(out)
    assert "became" in failed["error"]
    settled = [cell for cell in table(out) if cell["name"] != "broken"]
    (out / "cells.json").write_text(json.dumps(settled))
    assert results(out).items() <= results(once[0]).items()
    assert len(results(out)) == 4


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is an extra")
def test_ray_gives_the_same(once: tuple[Path, InThisProcess], phantom_root: Path, tmp_path: Path) -> None:
    from preceptor.study.engines.ray import RayEngine

    study = run(RayEngine(None, 1, 1, 1), phantom_root, tmp_path / "study", rows=PLAN["rows"][:1])
    assert study.count("done") == 1
    assert results(tmp_path / "study").items() <= results(once[0]).items()


def test_a_cell_has_room_on_one_node_or_none() -> None:
    """Two nodes of one CPU hold no cell of two threads, whatever their sum: Ray would wait for ever."""
    from preceptor.study.engines.ray import _room

    small, large, fast = {"CPU": 1.0}, {"CPU": 5.0}, {"CPU": 8.0, "GPU": 3.0}
    assert _room([small, large], 2, 0) == 2
    assert _room([large, fast], 1, 2) == 1
    assert _room([fast, fast], 4, 1) == 4
    with pytest.raises(PreceptorError, match="the largest node has 1 CPUs, a cell takes 2"):
        _room([small, small], 2, 0)
    with pytest.raises(PreceptorError, match="8 CPUs and 3 GPUs, a cell takes 4 CPUs and 4 GPUs"):
        _room([large, fast], 4, 4)


def test_killed_and_asked_again(phantom_root: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of an epoch: the worker ends with its study, and the same command makes up for it."""
    rows, settings = PLAN["rows"][:1], {**SETTINGS, "epochs": 3}
    (tmp_path / "plan.yaml").write_text(to_yaml(plan(rows=rows, set=settings, threads=1)))
    out = tmp_path / "study"
    words = ["study", str(tmp_path / "plan.yaml"), "--root", str(phantom_root), "--out", str(out), "--workers", "1"]
    process = subprocess.Popen([sys.executable, "-m", "preceptor", *words], stdout=subprocess.DEVNULL)
    wait_for(lambda: any(epochs_done(cell) for cell in (out / "cells").glob("*")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (cell,) = [cell for cell in (out / "cells").glob("*") if cell.is_dir()]
    until = time.monotonic() + 300
    while _workers_of(out):
        assert time.monotonic() < until, "a worker outlived its study"
        time.sleep(0.05)
    assert 1 <= epochs_done(cell) < 3
    study = run(InThisProcess(), phantom_root, out, rows=rows, set=settings, threads=1)
    assert study.count("done") == 1
    whole = run(InThisProcess(), phantom_root, tmp_path / "whole", rows=rows, set=settings, threads=1)
    assert whole.count("done") == 1
    assert results(out) == results(tmp_path / "whole")


def _workers_of(out: Path) -> list[int]:
    """Processes that write to the study's logs."""
    result = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "fd" / "1").startswith(str(out / "logs")):
                result.append(int(entry.name))
        except OSError:
            continue
    return result


def test_recipes_are_timed_once_and_within_a_budget(phantom_root: Path, tmp_path: Path) -> None:
    """Seeds and budgets of epochs share a timing, and nothing is left behind."""
    made = []

    def times(budget: float = 60.0, **changes: Any) -> dict[str, float]:
        study = open_study(resolve_plan(plan(**changes), CommandLine(root=phantom_root)), tmp_path / "study")
        with pytest.MonkeyPatch.context() as patch:
            pace = timing._pace
            patch.setattr(timing, "_pace", lambda *message: made.append(1) or pace(*message))
            return timing.time_runs(study.matrix.runs.values(), study.catalog, 1, budget).seconds

    rows = [*PLAN["rows"], {"name": "longer", "recipe": "student", "set": {"epochs": 2}}]
    result = times(rows=rows, seeds=[0, 1])
    assert len(result) == 8
    assert len(made) == 3  # student, kd, teacher
    assert all(seconds > 0 for seconds in result.values())
    assert times(budget=0.0) == {}
    assert not (tmp_path / "study").exists()


def test_command(phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """``--dry-run`` shows the matrix and does nothing."""
    from preceptor.cli import app

    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    out = tmp_path / "study"
    words = ["study", str(tmp_path / "plan.yaml"), "--root", str(phantom_root), "--out", str(out), "--dry-run"]
    app([*words, "seeds=[0,1]"], standalone_mode=False)
    text = capsys.readouterr().out
    assert "4 cells, 0 done; 6 runs in all, 2 of them shared" in text
    assert re.search(
        r"left: about .* of work.* \(from a few timed steps of each recipe on this machine, one at a time", text
    )
    assert not out.exists()
