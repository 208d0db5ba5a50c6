from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from conftest import TINY
from preceptor.recipes.resolve import resolve
from preceptor.runs.create import prepare
from preceptor.runs.data import Data
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError

SETTINGS = {**TINY, "networks.student.backbone": "test_resnet", "networks.student.pretrained": "none"}


@pytest.fixture
def moved(phantom_root: Path, tmp_path: Path) -> Run:
    """A prepared run whose data are now in the folder ``elsewhere`` beside it."""
    shutil.copytree(phantom_root, tmp_path / "data")
    run = prepare(resolve("student", SETTINGS), Data("phantom", tmp_path / "data"), tmp_path / "run")
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    return Run(run.path)


def test_a_run_without_its_data_names_the_remedy(moved: Run) -> None:
    with pytest.raises(PreceptorError, match=r"data: does not exist[\s\S]*preceptor resume \S+ --root FOLDER"):
        moved.catalog()


def test_a_run_remembers_where_its_data_were_moved(moved: Run) -> None:
    moved.move_data(moved.path.parent / "elsewhere")
    again = Run(moved.path)
    assert len(again.catalog()) == len(again.split)
    assert again.environment.data.root == str(moved.path.parent / "elsewhere")
    assert again.environment.split_hash == moved.environment.split_hash


def test_data_elsewhere_can_be_read_without_writing_it_down(moved: Run) -> None:
    before = (moved.path / "environment.json").read_bytes()
    assert len(moved.with_root(moved.path.parent / "elsewhere").catalog()) == len(moved.split)
    assert (moved.path / "environment.json").read_bytes() == before


def test_other_data_are_refused_and_nothing_is_written(moved: Run) -> None:
    elsewhere = moved.path.parent / "elsewhere"
    table = elsewhere / "metadata.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    before = (moved.path / "environment.json").read_bytes()
    with pytest.raises(PreceptorError, match=r"elsewhere: the data changed since"):
        moved.move_data(elsewhere)
    assert (moved.path / "environment.json").read_bytes() == before
