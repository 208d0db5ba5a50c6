"""An installation without PyTorch: what does not train works, and what does names the extra that it needs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from in_turn import run_in_turn
from light_install import LIGHT_INSTALL
from preceptor.utils.extras import TRAINING

NEED_PYTORCH = [
    "train student --data phantom", "resume .", "evaluate .", "predict . photo.png", "export . --out exported",
    "report .", "explain .", "profile .", "study crckd_table1", "tune kd --data phantom", "demo",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photo.png").write_bytes(b"")
    return tmp_path


def test_what_needs_pytorch_names_the_extra(folder: Path) -> None:
    outcomes = run_in_turn(LIGHT_INSTALL, [words.split() for words in NEED_PYTORCH], folder)
    for words, (code, _, errors) in zip(NEED_PYTORCH, outcomes, strict=True):
        assert code == 2, (words, code, errors)
        assert "this needs torch, torchvision" in errors, words
        assert "pip install 'preceptor[train]'" in errors, words


def test_data_are_checked_without_pytorch(phantom_root: Path, folder: Path) -> None:
    check = ["data", "check", "phantom", str(phantom_root)]
    wrong = [["predict", "exportd", "photo.png"], ["evaluate", "exportd"]]
    checked, *others = run_in_turn(LIGHT_INSTALL, [check, *wrong], folder)
    assert checked.code == 0, checked.errors
    assert "all files can be read in full" in checked.output
    for outcome in others:  # a wrong folder is not blamed on PyTorch
        assert "exportd: there is no such run or export" in outcome.errors


def test_the_extra_is_what_the_check_looks_for() -> None:
    metadata = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split("[<>=]", package)[0].replace("-", "_") for package in metadata["optional-dependencies"]["train"]]
    assert sorted(names) == sorted(TRAINING)
    assert not {re.split("[<>=]", package)[0] for package in metadata["dependencies"]} & set(names)
