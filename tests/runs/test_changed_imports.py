"""A file of ``--import`` that was edited since: runs of before learned with another loss of the same name."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest

from preceptor import resume
from preceptor.recipes.resolve import resolve
from preceptor.runs.changed_imports import warn_of_changed_imports
from preceptor.runs.create import prepare
from preceptor.runs.data import Data
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError, PreceptorWarning
from preceptor.utils.files import sha256_of
from preceptor.utils.imports import VARIABLE, import_files, imported_files

SMALL = ["networks.student.backbone=test_resnet", "networks.student.pretrained=none"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, "")
    file = tmp_path / "my_loss.py"
    file.write_text("weight = 1.0\n")
    import_files([file])
    return file


def test_an_edited_file_is_named_with_the_runs_of_before(
    file: Path, phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(resolve("student", SMALL), Data("phantom", phantom_root), tmp_path / "run")
    runs = [Run(tmp_path / "run"), Run(tmp_path / "not-begun")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_changed_imports(runs)
    (tmp_path / "later").mkdir()
    edited = tmp_path / "later" / file.name
    edited.write_text("weight = 2.0\n")
    monkeypatch.setenv(VARIABLE, "")  # as in another Python, later
    import_files([edited])
    with pytest.warns(PreceptorWarning, match=r"my_loss\.py is not what it was when run started"):
        warn_of_changed_imports(runs)


def test_a_run_records_what_was_imported_though_the_file_was_edited_since(
    file: Path, phantom_root: Path, tmp_path: Path
) -> None:
    executed = sha256_of(file)
    file.write_text("weight = 2.0\n")
    run = prepare(resolve("student", SMALL), Data("phantom", phantom_root), tmp_path / "run")
    assert run.environment.import_hashes == {str(file): executed}


def test_resume_takes_a_moved_file_for_the_one_that_was_recorded(
    file: Path, phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(resolve("student", SMALL), Data("phantom", phantom_root), tmp_path / "run")
    continued: list[Run] = []
    monkeypatch.setattr("preceptor.api.completion.continue_run", lambda run, **_: continued.append(run))
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.copy(file, tmp_path / "elsewhere"))
    for there in (True, False):  # both, and only the new one
        monkeypatch.setenv(VARIABLE, "")
        if not there:
            file.unlink()
        resume(tmp_path / "run", imports=[moved], progress=False)
        assert imported_files() == [str(moved)]
    assert len(continued) == 2
    with pytest.raises(PreceptorError, match=r"my_loss\.py: no such file\n.*give its new place.*my_loss\.py"):
        resume(tmp_path / "run", progress=False)


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
