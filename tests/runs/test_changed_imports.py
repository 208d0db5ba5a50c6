"""A file of ``--import`` that was edited since: runs of before learned with another loss of the same name."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from preceptor.recipes.resolve import resolve
from preceptor.runs.changed_imports import warn_of_changed_imports
from preceptor.runs.create import prepare
from preceptor.runs.data import Data
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorWarning
from preceptor.utils.imports import VARIABLE, import_files

SMALL = ["networks.student.backbone=test_resnet", "networks.student.pretrained=none"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, "")
    file = tmp_path / "my_loss.py"
    file.write_text("weight = 1.0\n")
    import_files([file])
    return file


def test_an_edited_file_is_named_with_the_runs_of_before(file: Path, phantom_root: Path, tmp_path: Path) -> None:
    prepare(resolve("student", SMALL), Data("phantom", phantom_root), tmp_path / "run")
    runs = [Run(tmp_path / "run"), Run(tmp_path / "not-begun")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_changed_imports(runs)
    file.write_text("weight = 2.0\n")
    with pytest.warns(PreceptorWarning, match=r"my_loss\.py is not what it was when run started"):
        warn_of_changed_imports(runs)


def test_a_file_that_has_moved_is_the_same(
    file: Path, phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(resolve("student", SMALL), Data("phantom", phantom_root), tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    moved = file.rename(tmp_path / "elsewhere" / file.name)
    monkeypatch.setenv(VARIABLE, str(moved))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_changed_imports([Run(tmp_path / "run")])
