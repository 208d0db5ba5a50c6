"""An installation without PyTorch: what does not train works, and what does names the extra that it needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from light_install import LIGHT_INSTALL
from preceptor.utils.extras import TRAINING


def light(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"{LIGHT_INSTALL}\nfrom preceptor.cli import main\nmain()", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)


@pytest.mark.parametrize(
    "words",
    ["train student --data phantom", "resume .", "evaluate .", "predict . photo.png", "export . --out exported",
     "report .", "explain .", "profile .", "study crckd_table1", "tune kd --data phantom", "demo"],
)  # fmt: skip
def test_what_needs_pytorch_names_the_extra(words: str, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"")
    done = light(tmp_path, *words.split())
    assert done.returncode == 2, done.stderr
    assert "this needs torch, torchvision" in done.stderr
    assert "pip install 'preceptor[train]'" in done.stderr


def test_data_are_checked_without_pytorch(phantom_root: Path, tmp_path: Path) -> None:
    done = light(tmp_path, "data", "check", "phantom", phantom_root)
    assert done.returncode == 0, done.stderr
    assert "all files can be read in full" in done.stdout


def test_a_wrong_folder_is_not_blamed_on_pytorch(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"")
    for words in (("predict", "exportd", "photo.png"), ("evaluate", "exportd")):
        assert "exportd: there is no such run or export" in light(tmp_path, *words).stderr


def test_the_extra_is_what_the_check_looks_for() -> None:
    metadata = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split("[<>=]", package)[0].replace("-", "_") for package in metadata["optional-dependencies"]["train"]]
    assert sorted(names) == sorted(TRAINING)
    assert not {re.split("[<>=]", package)[0] for package in metadata["dependencies"]} & set(names)
