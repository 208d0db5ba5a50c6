"""What the study command says when something is amiss, and what it writes all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

import preceptor
import preceptor.report.study_gallery
from fake_study import FakeStudy, write_fake_study
from preceptor.cli.evaluate import report
from preceptor.cli.study import study
from preceptor.cli.study_console import Watcher
from preceptor.report.study_results import read_study
from preceptor.study.outcome import Outcome
from preceptor.study.overrides import CommandLine, resolve_plan
from preceptor.study.scheduler import open_study, run_cells
from preceptor.study.worker import Job
from preceptor.training import network_pass
from preceptor.utils.errors import PreceptorWarning
from small_study import plan

ROWS = [{"name": "alone", "recipe": "student"}, {"name": "decayed", "recipe": "student", "set": {"optimiser.lr": 0.01}}]
SMALL = FakeStudy(classes=("bkl", "mel", "nv"), images=160, epochs=4, rows=("Student alone", "KD"), folds=(0, 1))


class Unlucky:
    """An engine on which every job fails, or that is interrupted before one has ended."""

    workers = 1

    def __init__(self, *, stopped: bool = False) -> None:
        self.jobs: list[Job] = []
        self.stopped = stopped

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def results(self, seconds: float) -> list[Outcome]:
        if self.stopped:
            raise KeyboardInterrupt
        jobs, self.jobs = self.jobs, []
        return [Outcome(job.identity, "failed", "no luck\n  to do:    try again", 2.0) for job in jobs]

    def running(self) -> set[str]:
        return set()

    def close(self) -> None: ...


def command(root: Path, folder: Path, *, dry_run: bool = False, **changes: Any) -> None:
    text = plan(rows=ROWS, **changes).plain()
    (folder / "plan.yaml").write_text(yaml.safe_dump(text))
    study(str(folder / "plan.yaml"), root=root, out=folder / "study", workers=1, dry_run=dry_run)


def states(out: Path) -> list[tuple[str, str]]:
    cells = json.loads((out / "cells.json").read_text())
    return [(cell["state"], cell["error"].splitlines()[0] if cell["error"] else "") for cell in cells]


def test_failures_stay_known_until_they_have_been_tried_again(
    phantom_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also if the next try is interrupted before they had their turn; the time that is left counts them."""
    out = tmp_path / "study"
    for stopped in (False, True):
        opened = open_study(resolve_plan(plan(rows=ROWS), CommandLine(root=phantom_root)), out)
        try:
            run_cells(opened, lambda stopped=stopped: Unlucky(stopped=stopped), 1)  # type: ignore[misc]
        except KeyboardInterrupt:
            assert stopped
        assert states(out) == [("failed", "no luck")] * 2
    assert open_study(resolve_plan(plan(rows=ROWS), CommandLine(root=phantom_root)), out).count("failed") == 2
    command(phantom_root, tmp_path, dry_run=True)
    text = capsys.readouterr().out
    assert "failed before, is tried again: cells/alone-fold0-seed0-" in text
    assert text.count(": no luck to do: try again") == 2
    assert "2 cells, 0 done, 2 failed; " in text
    assert "left: about" in text


def test_a_dry_run_says_what_the_machine_lacks(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no failure: the plan may be meant for another machine. The rest of it is shown all the same."""
    monkeypatch.setattr(network_pass, "has_gpu", lambda: False)
    monkeypatch.setattr(network_pass, "missing_compiler", lambda: "this machine has none")
    modes = ("float32+compiled", "float32+graphed")
    rows = [{"name": mode, "recipe": "student", "set": {"precision": {"student": mode}}} for mode in modes]
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan(rows=rows, baseline=modes[0]).plain()))
    study(str(tmp_path / "plan.yaml"), root=phantom_root, out=tmp_path / "study", workers=1, dry_run=True)
    text = " ".join(capsys.readouterr().out.split())
    for lacking in ("float32+compiled needs a compiler", "float32+graphed needs a GPU"):
        assert text.count(f"this machine cannot run the study: precision: {lacking}") == 1
    assert "2 cells, 0 done" in text
    assert "left: unknown until the first cell is done (precision: float32+compiled needs a compiler" in text
    with pytest.warns(PreceptorWarning, match="this machine cannot run the study: precision: float32") as warned:
        preceptor.study(tmp_path / "plan.yaml", root=phantom_root, out=tmp_path / "study", dry_run=True)
    assert len(warned) == 2


@pytest.mark.parametrize(
    "where", ["cli.study_console.print_matrix", "api.studies.run_study", "cli.study_console.result_table"]
)
def test_an_interruption_at_any_time_says_how_to_go_on(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("preceptor.api.studies.run_study", lambda *_, **__: None)
    monkeypatch.setattr(f"preceptor.{where}", stop)
    with pytest.raises(KeyboardInterrupt) as interrupt:
        command(phantom_root, tmp_path, dry_run="matrix" in where)
    assert interrupt.value.__notes__ == ["the same command continues from the last finished epochs"]


def test_a_gallery_that_fails_does_not_cost_the_report(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Path) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(preceptor.report.study_gallery, "write_study_gallery", fail)
    command(phantom_root, tmp_path)
    assert "no Grad-CAM gallery: RuntimeError: CUDA out of memory" in capsys.readouterr().err
    assert (tmp_path / "study" / "report.html").is_file()
    file = next((tmp_path / "study" / "cells").glob("alone*/predictions.csv"))
    file.write_text("damaged")
    with pytest.raises(SystemExit) as ended:
        command(phantom_root, tmp_path)
    assert ended.value.code == 1
    assert f"not in the report: alone, fold 0, seed 0: {file}" in capsys.readouterr().err


def test_the_report_command_names_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_fake_study(tmp_path / "s", SMALL)
    file = folder / "cells" / "kd-fold1-seed0" / "predictions.csv"
    file.write_text("")
    with pytest.raises(SystemExit) as ended:
        report([folder])
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert f"report: {folder / 'report.html'}" in printed.out
    assert f"not in the report: KD, fold 1, seed 0: {file}" in printed.err
    with pytest.warns(preceptor.PreceptorWarning, match="not in the report: KD, fold 1, seed 0"):
        assert preceptor.report(folder) == folder / "report.html"


@pytest.mark.parametrize("damage", ["empty", "cut", "short", "junk", "nan"])
def test_a_damaged_run_is_left_out_of_the_report_and_named(tmp_path: Path, damage: str) -> None:
    folder = write_fake_study(tmp_path / "s", SMALL)
    file = folder / "cells" / "kd-fold1-seed0" / "predictions.csv"
    text = file.read_text()
    lines = text.splitlines(keepends=True)
    cells = lines[-1].split(",")
    file.write_text(
        {
            "empty": "",
            "cut": text[: -len(lines[-1]) // 2],
            "short": "".join(lines[:-3]),
            "junk": "".join([*lines[:-1], ",".join([*cells[:-1], "junk\n"])]),
            "nan": "".join([*lines[:-1], ",".join([*cells[:-1], "\n"])]),
        }[damage]
    )
    result = read_study(folder)
    (failed,) = result.of("failed")
    assert (failed.name, failed.key) == ("KD", (1, 0))
    assert str(file.parent) in failed.error
    assert f"remove {file.parent / 'metrics.json'}" in failed.error
    assert {key for line in result.lines if line.row.name == "KD" for key in line.runs} == {(0, 0)}


def test_the_live_table_names_what_failed(phantom_root: Path, tmp_path: Path) -> None:
    """That of this session, and that of earlier ones which is tried again."""
    opened = open_study(resolve_plan(plan(rows=ROWS), CommandLine(root=phantom_root)), tmp_path / "study")
    first, second = opened.outcomes
    opened.outcomes[first] = Outcome(first, "failed", "no luck")
    opened.outcomes[second] = Outcome(second, "pending", "no memory")
    console = Console(force_terminal=True, width=120)
    with console.capture() as text, Watcher(console) as watch:
        watch(opened, Unlucky(), [])
    assert "failed: cells/alone-fold0-seed0-" in text.get()
    assert "failed before, is tried again: cells/decayed-fold0-seed0-" in text.get()
    assert "again" in text.get().split("at work")[0]


def test_runs_of_another_form_of_the_plan_are_named(
    phantom_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(phantom_root, tmp_path, dry_run=True)
    assert "not of this plan" not in capsys.readouterr().out
    out = tmp_path / "study"
    opened = open_study(resolve_plan(plan(rows=ROWS), CommandLine(root=phantom_root)), out)
    own = next(iter(opened.matrix.paths.values()))
    for run in (own, out / "cells" / "alone-fold0-seed0-0123abcd", out / "shared" / "teacher-fold0-seed0-4567cdef"):
        run.mkdir(parents=True)
        (run / "environment.json").write_text("{}")
    (out / "cells" / "notes").mkdir()
    (out / "cells.json").write_text("[]")
    command(phantom_root, tmp_path, dry_run=True)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "not of this plan" in line]
    named = "shared/teacher-fold0-seed0-4567cdef, cells/alone-fold0-seed0-0123abcd"
    assert line.startswith(f"not of this plan, and in no table: {named}; they stay")
