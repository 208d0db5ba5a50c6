"""A study whose folder, or whose data, were moved between its stop and its continuation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from preceptor.runs.directory import Run
from preceptor.runs.load_networks import finished_networks
from preceptor.study.outcome import Outcome
from preceptor.study.overrides import CommandLine, resolve_plan
from preceptor.study.scheduler import Study, _job, open_study, run_cells
from preceptor.study.worker import Job, _prepared, work
from small_study import PLAN, plan

ROWS = {"rows": [{"name": "teacher", "teacher": True}, PLAN["rows"][1]], "baseline": "teacher"}


class Worker:
    """An engine without processes, which is stopped when a cell of distillation has been prepared."""

    workers = 1

    def __init__(self, *, stops: bool) -> None:
        self.stops = stops
        self.queue: list[Job] = []

    def submit(self, job: Job) -> None:
        self.queue.append(job)

    def results(self, seconds: float) -> list[Outcome]:
        job = self.queue.pop(0)
        if self.stops and job.path.name.startswith("KD"):
            _prepared(job)
            raise KeyboardInterrupt
        return [work(job)]

    def running(self) -> set[str]:
        return set()

    def close(self) -> None:
        self.queue.clear()


def run(root: Path, out: Path, *, stops: bool = False) -> Study:
    changes: dict[str, Any] = {**ROWS, "teacher": {"recipe": "teacher"}}
    study = open_study(resolve_plan(plan(**changes), CommandLine(root=root)), out)
    run_cells(study, lambda: Worker(stops=stops), 1)
    return study


@pytest.fixture(scope="module")
def stopped(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data`` and ``study``, whose teacher is finished and whose other cell was prepared."""
    place = tmp_path_factory.mktemp("stopped")
    shutil.copytree(phantom_root, place / "data")
    with pytest.raises(KeyboardInterrupt):
        run(place / "data", place / "study", stops=True)
    return place


@pytest.fixture
def moved(stopped: Path, tmp_path: Path) -> Path:
    """Such a study in a place where it was not begun, in ``study``; its paths are those of another that is gone."""
    shutil.copytree(stopped, tmp_path / "here")
    for path in (tmp_path / "here").rglob("*"):
        if path.name in ("recipe.yaml", "environment.json"):
            path.write_text(path.read_text().replace(str(stopped), str(tmp_path / "gone")))
    refresh_hashes(tmp_path / "here" / "study")
    return tmp_path / "here"


def refresh_hashes(study: Path) -> None:
    for path in study.glob("*/*/environment.json"):
        environment = json.loads(path.read_text())
        path.write_text(json.dumps({**environment, "recipe_hash": Run(path.parent).recipe_hash}))


def cell(study: Path) -> Run:
    (path,) = (study / "cells").glob("KD-*")
    return Run(path)


def teacher_file(study: Path) -> Path:
    (path,) = study.glob("shared/teacher-*/teacher.safetensors")
    return path


def test_a_moved_study_goes_on_and_its_cells_find_their_teacher(moved: Path) -> None:
    study = run(moved / "data", moved / "study")
    assert study.count("done") == 2, study.outcomes
    assert {Run(path).environment.data.root for path in study.matrix.paths.values()} == {str(moved / "data")}
    again = (moved / "study").rename(moved / "renamed")
    networks, lost = finished_networks(cell(again))
    assert set(networks) == {"teacher", "student"}
    assert not lost


def test_other_data_in_the_new_place_are_refused(moved: Path) -> None:
    """As by ``resume --root``; the study itself refuses them first, unless they change while it runs."""
    study = open_study(
        resolve_plan(plan(**ROWS, teacher={"recipe": "teacher"}), CommandLine(root=moved / "data")), moved / "study"
    )
    planned = next(key for key, path in study.matrix.paths.items() if path == cell(moved / "study").path)
    table = moved / "data" / "metadata.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    outcome = work(_job(study, 1, None, None, planned, study.matrix.runs[planned]))
    assert outcome.state == "failed"
    assert "the data changed since" in outcome.error


def test_another_teacher_in_its_place_is_not_taken(moved: Path) -> None:
    study = moved / "study"
    recorded = cell(study).environment.source_hashes
    assert set(recorded) == {"teacher"}
    assert cell(study).settled_networks()["teacher"].run == str(teacher_file(study))
    teacher_file(study).write_bytes(b"of another run")
    assert not Path(str(cell(study).settled_networks()["teacher"].run)).exists()


def test_cells_of_before_go_by_what_the_shared_run_recorded(moved: Path) -> None:
    study = moved / "study"
    path = cell(study).path / "environment.json"
    environment = json.loads(path.read_text())
    del environment["source_hashes"]
    path.write_text(json.dumps(environment))
    assert cell(study).settled_networks()["teacher"].run == str(teacher_file(study))
    teacher_file(study).write_bytes(b"of another run")
    assert not Path(str(cell(study).settled_networks()["teacher"].run)).exists()


def test_runs_side_by_side_are_moved_together(moved: Path, tmp_path: Path) -> None:
    """As ``runs/kd`` and ``runs/teacher``."""
    source = cell(moved / "study")
    kept = Run(shutil.copytree(source.path, tmp_path / "runs" / "kd"))
    folder = shutil.copytree(teacher_file(moved / "study").parent, tmp_path / "runs" / source.path.name)
    shutil.move(folder, tmp_path / "runs" / teacher_file(moved / "study").parent.name)
    shutil.rmtree(moved / "study")
    assert Path(str(kept.settled_networks()["teacher"].run)).is_relative_to(tmp_path / "runs")


def test_folds_of_two_machines_make_one_study(phantom_root: Path, tmp_path: Path) -> None:
    """Cells are found by what they are of, so that copying them into one folder is all there is to do."""
    alone = {"rows": PLAN["rows"][:1], "set": {**PLAN["set"], "split.folds": 2}}

    def study(folds: list[int], out: Path) -> Study:
        return open_study(resolve_plan(plan(**alone, folds=folds), CommandLine(root=phantom_root)), out)

    for fold, place in ((0, tmp_path / "one"), (1, tmp_path / "other")):
        run_cells(study([fold], place), lambda: Worker(stops=False), 1)
    shutil.copytree(tmp_path / "other" / "cells", tmp_path / "one" / "cells", dirs_exist_ok=True)
    together = study([0, 1], tmp_path / "one")
    assert together.count("done") == len(together.matrix.cells) == 2
    run_cells(together, lambda: pytest.fail("a cell runs again"), 1)
    tested = [Run(path).predictions.query("part == 'test'")["id"] for path in (tmp_path / "one" / "cells").iterdir()]
    assert set(tested[0]).isdisjoint(tested[1])
