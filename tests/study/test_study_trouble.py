"""Studies in trouble: what is refused, what fails alone, and what is said of it; nothing that is done is lost."""

from __future__ import annotations

import errno
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from preceptor.cli.study_console import matrix_table, result_table
from preceptor.study.engines.local import workers_for
from preceptor.study.outcome import Outcome
from preceptor.study.overrides import CommandLine, resolve_plan
from preceptor.study.scheduler import Study, open_study, run_cells
from preceptor.study.state import refuse_other_data, threads_before
from preceptor.study.worker import Job, work
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_text
from small_study import PLAN, plan

ALONE = {"rows": PLAN["rows"][:1]}


class Stopped:
    """An engine that is interrupted before anything runs."""

    workers = 1

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.closed = False

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def results(self, seconds: float) -> list[Outcome]:
        raise KeyboardInterrupt

    def running(self) -> set[str]:
        return set()

    def close(self) -> None:
        self.closed = True


def opened(root: Path, out: Path, **changes: Any) -> Study:
    return open_study(resolve_plan(plan(**{**ALONE, **changes}), CommandLine(root=root)), out)


def stop(study: Study) -> Stopped:
    """Starts a study and interrupts it at once."""
    engine = Stopped()
    with pytest.raises(KeyboardInterrupt):
        run_cells(study, lambda: engine, 1)
    return engine


def test_the_command_can_be_given_again_as_it_is_told(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the study and of its runs: spaces and brackets are quoted."""
    words = ["preceptor", "study", "tiny", "--root", "my photos", "folds=[0,1]"]
    monkeypatch.setattr(sys, "argv", words)
    (job,) = stop(opened(phantom_root, tmp_path / "study", set={**PLAN["set"], "epochs": 1})).jobs
    monkeypatch.setattr("preceptor.study.worker.complete", lambda *_, **__: None)
    work(job)
    for folder in (tmp_path / "study", job.path):
        assert shlex.split(json.loads((folder / "environment.json").read_text())["command"]) == words


def test_a_folder_of_other_data_is_refused_before_anything_is_written_over(phantom_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    (job,) = stop(opened(phantom_root, out)).jobs
    opened(phantom_root, out, data={"reader": "phantom", "exclude": ["phantom_0000159"]})  # nothing was trained yet
    begun(job.path)
    opened(phantom_root, out)
    with pytest.raises(PreceptorError, match=r"other images .* of phantom: 160 then, 159 now") as refused:
        opened(phantom_root, out, data={"reader": "phantom", "exclude": ["phantom_0000159"]})
    assert "choose another --out" in refused.value.remedy
    with pytest.raises(PreceptorError, match="holds a study of phantom, and this is one of folder"):
        refuse_other_data(out, plan(data={"reader": "folder"}), "", 0)


def test_threads_are_fixed_as_soon_as_a_cell_is_begun(phantom_root: Path, tmp_path: Path) -> None:
    """A cell that went on with another number would end with other last bits."""
    out = tmp_path / "study"
    (job,) = stop(opened(phantom_root, out)).jobs
    assert threads_before(out, plan(threads=2)) == 2
    begun(job.path)
    with pytest.raises(PreceptorError, match=r"threads is 2; the cells in .* done or begun had 1"):
        threads_before(out, plan(threads=2))


def test_a_finished_teacher_without_its_weights_is_refused_before_training(phantom_root: Path, tmp_path: Path) -> None:
    """As in a study's folder that was copied without ``*.safetensors``: what failed run by run before."""
    rows = [{"name": "teacher", "teacher": True}, {"name": "KD", "recipe": "kd"}]
    changes = {"rows": rows, "teacher": {"recipe": "teacher"}, "baseline": "teacher"}
    out = tmp_path / "study"
    study = opened(phantom_root, out, **changes)
    (teacher,) = study.matrix.shared
    work(next(job for job in stop(study).jobs if job.identity == teacher))
    assert opened(phantom_root, out, **changes).count("done") == 1
    (study.matrix.paths[teacher] / "teacher.safetensors").unlink()
    with pytest.raises(PreceptorError, match=r"KD-fold0-seed0-\w+ begins from teacher: .*holds no finished") as refused:
        opened(phantom_root, out, **changes)
    assert "copy them too, or remove this folder" in refused.value.remedy


def begun(run: Path) -> None:
    """As a run stands after its first epoch."""
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.pt").touch()


def test_processes_of_a_cell_have_cores_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share the cell's threads; with fewer threads than processes, each still has one."""
    monkeypatch.setattr("preceptor.study.engines.local.usable_cores", lambda: 8)
    monkeypatch.setattr("preceptor.study.engines.local.memory", lambda: (2**50, 2**50))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert [workers_for(10, *case) for case in ((None, 1), (1, 2), (2, 2), (4, 2), (3, 1))] == [8, 4, 4, 2, 2]


def test_a_folder_that_cannot_be_written_to_is_one_clear_error(phantom_root: Path) -> None:
    with pytest.raises(PreceptorError, match=r"^/proc/nowhere/study: cannot be written to \(No such file"):
        run_cells(opened(phantom_root, Path("/proc/nowhere/study")), Stopped, 1)


def test_a_full_disk_loses_nothing_that_is_done(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "study"
    engine = Works()

    def full(path: Path, content: str) -> None:
        if engine.done:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_text(path, content)

    monkeypatch.setattr("preceptor.study.scheduler.write_text", full)
    with pytest.raises(PreceptorError, match=r"cells\.json: cannot be written \(No space left") as stopped:
        run_cells(opened(phantom_root, out), lambda: engine, 1)
    assert "the same command continues" in stopped.value.remedy
    assert engine.closed
    monkeypatch.undo()
    assert opened(phantom_root, out).count("done") == 1


class Works(Stopped):
    """An engine in this process."""

    done = 0

    def results(self, seconds: float) -> list[Outcome]:
        outcome = work(self.jobs.pop(0))
        self.done += 1
        return [outcome]


def test_the_engine_starts_before_images_are_decoded_and_is_closed_if_they_cannot_be(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, order = Stopped(), []

    def decode(*_: Any) -> None:
        order.append("decode")
        raise PreceptorError("an image is broken")

    def start() -> Stopped:
        order.append("engine")
        return engine

    monkeypatch.setattr("preceptor.study.scheduler._decode", decode)
    with pytest.raises(PreceptorError, match="an image is broken"):
        run_cells(opened(phantom_root, tmp_path / "study"), start, 1)
    assert (order, engine.closed) == (["engine", "decode"], True)


@pytest.mark.parametrize(
    "history", ["", "junk", "epoch,loss\n1,2\n", "seconds\nx\n", "a,seconds\n1\n", "seconds\nnan\n"]
)
def test_a_damaged_history_is_none(phantom_root: Path, tmp_path: Path, history: str) -> None:
    (job,) = stop(opened(phantom_root, tmp_path / "study")).jobs
    job.path.mkdir(parents=True)
    (job.path / "history.csv").write_text(history)
    study = opened(phantom_root, tmp_path / "study")
    assert [outcome.state for outcome in study.outcomes.values()] == ["pending"]
    assert matrix_table(study).row_count == 1


@pytest.mark.parametrize("figures", ["", "{", "{}", "[]", '{"training_seconds": 1, "networks": {"student": {}}}'])
def test_damaged_figures_are_a_failure_that_names_the_file(phantom_root: Path, tmp_path: Path, figures: str) -> None:
    (job,) = stop(opened(phantom_root, tmp_path / "study")).jobs
    job.path.mkdir(parents=True)
    (job.path / "metrics.json").write_text(figures)
    (outcome,) = opened(phantom_root, tmp_path / "study").outcomes.values()
    assert outcome.state == "failed"
    assert outcome.error.startswith(f"{job.path / 'metrics.json'}: ")


def test_a_cell_with_damaged_figures_fails_alone(phantom_root: Path, tmp_path: Path) -> None:
    """The other one runs; with the file removed, as the error says, the cell is measured again and is the same."""
    out = tmp_path / "study"
    rows = [PLAN["rows"][0], {"name": "longer", "recipe": "student", "set": {"networks.student.dropout": 0.2}}]
    run_cells(opened(phantom_root, out), Works, 1)
    (file,) = out.glob("cells/*/metrics.json")
    before = {name: (file.parent / name).read_bytes() for name in ("predictions.csv", "student.safetensors")}
    file.write_text("{")
    study = opened(phantom_root, out, rows=rows)
    run_cells(study, Works, 1)
    assert [study.outcome(cell).state for cell in study.matrix.cells] == ["failed", "done"]
    assert f"{file}: cannot be read" in study.outcome(study.matrix.cells[0]).error
    assert result_table(study).row_count == 2
    file.unlink()
    study = opened(phantom_root, out, rows=rows)
    run_cells(study, Works, 1)
    assert study.count("done") == 2
    assert before == {name: (file.parent / name).read_bytes() for name in before}


def test_a_cell_that_finds_the_disk_full_says_what_to_do(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "last.pt")

    (job,) = stop(opened(phantom_root, tmp_path / "study", set={**PLAN["set"], "epochs": 1})).jobs
    monkeypatch.setattr("preceptor.study.worker.complete", full)
    outcome = work(job)
    assert outcome.state == "failed"
    assert "No space left on device: 'last.pt'\n  to do:    make room; the same command continues" in outcome.error


def test_a_worker_that_was_ended_after_the_figures_has_its_report_written_by_the_next_command(
    phantom_root: Path, tmp_path: Path
) -> None:
    study = opened(phantom_root, tmp_path / "study", set={**PLAN["set"], "epochs": 1})
    (job,) = stop(study).jobs
    work(job)  # without its report, and without anybody who is told
    finished: list[Path] = []
    for times in (1, 1):
        again = opened(phantom_root, tmp_path / "study", set={**PLAN["set"], "epochs": 1})
        assert again.count("done") == 1
        run_cells(again, Stopped, 1, on_finished=lambda run: finished.append(run.path))
        assert finished == [job.path] * times
