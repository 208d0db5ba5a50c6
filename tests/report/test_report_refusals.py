"""Runs that no report is made of, and how each is named."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fake_run import ALONE, write_fake_run, write_two
from preceptor.report.entries import load_run
from preceptor.report.run_report import write_report
from preceptor.utils.errors import PreceptorError


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_two(tmp_path_factory.mktemp("runs"))


def test_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="no run directory"):
        write_report([], tmp_path / "r.html")


def test_a_run_given_twice_is_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="given 2 times"):
        write_report([runs[0], runs[0] / ".." / "student"], tmp_path / "r.html")


def test_other_classes_are_refused(runs: list[Path], tmp_path: Path) -> None:
    other = write_fake_run(tmp_path / "two", replace(ALONE, classes=("a", "b")))
    with pytest.raises(PreceptorError, match="has the classes a, b"):
        write_report([runs[0], other], tmp_path / "r.html")


def test_missing_and_foreign_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="nowhere: there is no such run"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(PreceptorError, match=r"holds no recipe\.yaml"):
        load_run(tmp_path)


@pytest.fixture
def spoilt(runs: list[Path], tmp_path: Path) -> Path:
    """A copy of a finished run, for the test to damage."""
    return shutil.copytree(runs[0], tmp_path / "run")


def test_unfinished_run_says_how_to_go_on(spoilt: Path) -> None:
    (spoilt / "metrics.json").unlink()
    with pytest.raises(PreceptorError, match="is not finished") as caught:
        load_run(spoilt)
    assert caught.value.remedy == f"finish it: preceptor resume {spoilt}"


@pytest.mark.parametrize(
    "name", ["environment.json", "split.csv", "history.csv", "predictions.csv", "metrics.json", "recipe.yaml"]
)
def test_every_broken_file_is_named(spoilt: Path, name: str) -> None:
    for content in (b"", b"\xff\xfe{", b"[1, 2"):
        (spoilt / name).write_bytes(content)
        with pytest.raises(PreceptorError, match=re.escape(str(spoilt / name))):
            load_run(spoilt)


@pytest.mark.parametrize("name", ["environment.json", "split.csv", "history.csv", "predictions.csv"])
def test_every_missing_file_is_named(spoilt: Path, name: str) -> None:
    (spoilt / name).unlink()
    with pytest.raises(PreceptorError, match=re.escape(f"{spoilt / name} is missing")):
        load_run(spoilt)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 3, "format is 3"),
        ("task", "detection", "task is 'detection'"),
        ("classes", [], "classes is"),
        ("classes", ["bkl", "mel", "new"], "lacks the column p_new"),
        ("networks", {"student": {"backbone": "x", "test": None}}, r"networks\.student\.test is 'None'"),
        ("networks", {"student": {"backbone": "x", "test": {}}}, r"lacks networks\.student\.test\.balanced_accuracy"),
        ("networks", {"other": {"backbone": "x", "test": {"balanced_accuracy": 1}}}, "no test row of .* other"),
    ],
)
def test_metrics_that_do_not_fit_are_refused(spoilt: Path, key: str, value: object, message: str) -> None:
    metrics = json.loads((spoilt / "metrics.json").read_text())
    (spoilt / "metrics.json").write_text(json.dumps(metrics | {key: value}))
    with pytest.raises(PreceptorError, match=message):
        load_run(spoilt)


def test_unwritable_place_is_named(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PreceptorError, match="cannot be written"):
        write_report(runs[:1], tmp_path / "file" / "report.html")
