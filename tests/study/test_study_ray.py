"""What a study asks of Ray, and what it makes of Ray's answers."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from preceptor.runs.create import Data
from preceptor.study.worker import Job
from preceptor.utils.errors import PreceptorError

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is an extra")


def job(out: Path) -> Job:
    return Job("a", out / "cells" / "a", {}, Data("phantom"), 1, 2, None, out / "logs" / "a.log")


def test_what_a_task_prints_is_in_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from preceptor.study.engines.ray import RayEngine

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    broken = job(tmp_path)
    broken.path.mkdir(parents=True)
    (broken.path / "environment.json").write_text("{")
    engine = RayEngine(None, 1, 1, 1)
    try:
        engine.submit(broken)
        (outcome,) = engine.results(120)
    finally:
        engine.close()
    assert (outcome.state, outcome.error.split(":")[0]) == ("failed", "JSONDecodeError")
    assert "Traceback" in broken.log.read_text()


def test_a_folder_that_a_node_lacks_is_named(tmp_path: Path) -> None:
    from preceptor.study.engines.ray import _work

    here = os.getcwd()
    outcome = _work(job(tmp_path), ["preceptor"], str(tmp_path / "elsewhere"))
    assert os.getcwd() == here
    assert outcome.state == "failed"
    assert f"the folder {tmp_path / 'elsewhere'}, in which the command was given, cannot be entered" in outcome.error


def test_errors_are_told_without_colours() -> None:
    from ray.exceptions import RayTaskError, WorkerCrashedError

    from preceptor.study.engines.ray import _in_words

    coloured = RayTaskError(
        "_work", "Traceback", FileNotFoundError("\x1b[36mno such folder\x1b[39m")
    ).as_instanceof_cause()
    assert _in_words(coloured) == "FileNotFoundError: no such folder"
    assert _in_words(WorkerCrashedError()).startswith("WorkerCrashedError: The worker died unexpectedly")


@pytest.mark.parametrize(
    ("address", "variable", "asked", "message"),
    [
        (None, None, "local", "Ray cannot start on this machine"),
        (None, "head:6379", "head:6379", "RAY_ADDRESS=head:6379: no Ray cluster"),
        ("auto", "head:6379", "auto", "--address auto: no Ray cluster"),
    ],
)
def test_a_cluster_is_joined_only_where_one_is_named(
    monkeypatch: pytest.MonkeyPatch, address: str | None, variable: str | None, asked: str, message: str
) -> None:
    """Not the one that happens to run on this machine."""
    import ray

    from preceptor.study.engines.ray import RayEngine

    result = []

    def init(*, address: str, **_: Any) -> None:
        result.append(address)
        raise ConnectionError("nobody there")

    monkeypatch.setattr(ray, "init", init)
    if variable is None:
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
    else:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    with pytest.raises(PreceptorError, match=message):
        RayEngine(address, 1, 1, 1)
    assert result == [asked]
