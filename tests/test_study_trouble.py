"""Studies in trouble: what is refused, what fails alone, and what is said of it; nothing that is done is lost."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from preceptor.study.conduct import Study, conduct, open_study
from preceptor.study.settle import Asked, settle
from preceptor.study.work import Outcome, Task, work
from small_study import PLAN, plan

ALONE = {"rows": PLAN["rows"][:1]}


class Stopped:
    """An engine that is interrupted before anything runs."""

    workers = 1

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.closed = False

    def submit(self, task: Task) -> None:
        self.tasks.append(task)

    def results(self, seconds: float) -> list[Outcome]:
        raise KeyboardInterrupt

    def running(self) -> set[str]:
        return set()

    def close(self) -> None:
        self.closed = True


def opened(root: Path, out: Path, **changes: Any) -> Study:
    return open_study(settle(plan(**{**ALONE, **changes}), Asked(root=root)), out)


def stop(study: Study) -> Stopped:
    """Starts a study and interrupts it at once."""
    engine = Stopped()
    with pytest.raises(KeyboardInterrupt):
        conduct(study, lambda: engine, 1)
    return engine


def test_the_command_can_be_given_again_as_it_is_told(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the study and of its runs: spaces and brackets are quoted."""
    words = ["preceptor", "study", "tiny", "--root", "my photos", "folds=[0,1]"]
    monkeypatch.setattr(sys, "argv", words)
    (task,) = stop(opened(phantom_root, tmp_path / "study", set={**PLAN["set"], "epochs": 1})).tasks
    monkeypatch.setattr("preceptor.study.work.carry_on", lambda *_, **__: None)
    work(task)
    for folder in (tmp_path / "study", task.path):
        assert shlex.split(json.loads((folder / "environment.json").read_text())["command"]) == words
