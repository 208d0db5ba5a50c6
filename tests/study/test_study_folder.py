"""Where a study or a search may begin: never over a run, data, another study or a search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fake_run import write_fake_run
from preceptor import resume, study, tune
from preceptor.runs.occupied import FIRST, kind_of, refuse_occupied, refuse_occupied_by_other
from preceptor.utils.errors import PreceptorError
from small_study import PLAN


def finished_run(folder: Path) -> None:
    write_fake_run(folder)


def images(folder: Path) -> None:
    (folder / "mel").mkdir(parents=True)
    (folder / "mel" / "1.png").write_bytes(b"\x89PNG")


def studies(folder: Path) -> None:
    (folder / "tiny").mkdir(parents=True)
    (folder / "tiny" / "cells.json").write_text("[]")


def begun_study(folder: Path) -> None:
    folder.mkdir()
    (folder / "study.yaml").write_text("name: tiny\n")
    (folder / "environment.json").write_text("{}")


def begun_search(folder: Path) -> None:
    folder.mkdir()
    (folder / "search.yaml").write_text("seed: 0\n")


def killed_study(folder: Path) -> None:
    folder.mkdir()
    (folder / ".lock").touch()
    (folder / ".study.yaml.4711.tmp").write_text("nam")


def killed_search(folder: Path) -> None:
    folder.mkdir()
    (folder / ".lock").touch()
    (folder / ".search.yaml.4711.tmp").write_text("see")


def plan_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "plan.yaml").write_text("name: tiny\n")


Fill = Callable[[Path], None]


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (finished_run, "holds a run already"),
        (images, "holds 'mel', which no study wrote"),
        (studies, "holds 'tiny', which no study wrote"),
        (begun_search, "holds a search already"),
    ],
)
def test_a_study_begins_in_no_folder_of_something_else(
    fill: Fill, message: str, phantom_root: Path, tmp_path: Path
) -> None:
    out, plan = tmp_path / "out", tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(PLAN))
    fill(out)
    before = contents(out)
    with pytest.raises(PreceptorError, match=message) as refused:
        study(str(plan), root=phantom_root, out=out)
    assert "choose another --out" in refused.value.remedy
    assert contents(out) == before


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (finished_run, "holds a run already"),
        (images, "holds 'mel', which no search wrote"),
        (begun_study, "holds a study already"),
        (plan_alone, r"holds 'plan\.yaml', which no search wrote"),
    ],
)
def test_a_search_begins_in_no_folder_of_something_else(
    fill: Fill, message: str, phantom_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    fill(out)
    before = contents(out)
    with pytest.raises(PreceptorError, match=message):
        tune("student", ["optimiser.lr=log(0.001,0.1)"], data="phantom", root=phantom_root, out=out)
    assert contents(out) == before


@pytest.mark.parametrize("fill", [plan_alone, begun_study, killed_study, Path.mkdir, lambda folder: None])
def test_a_study_begins_beside_its_plan_or_goes_on(fill: Fill, tmp_path: Path) -> None:
    fill(tmp_path / "out")
    refuse_occupied_by_other(tmp_path / "out", "study")


@pytest.mark.parametrize("fill", [begun_search, killed_search, Path.mkdir, lambda folder: None])
def test_a_search_begins_in_an_empty_folder_or_goes_on(fill: Fill, tmp_path: Path) -> None:
    fill(tmp_path / "out")
    refuse_occupied_by_other(tmp_path / "out", "search")


def test_a_run_begins_in_no_study(tmp_path: Path) -> None:
    """It was told to resume the study's folder, which is no run."""
    begun_study(tmp_path / "out")
    with pytest.raises(PreceptorError, match="holds a study already") as refused:
        refuse_occupied(tmp_path / "out")
    assert "resume" not in refused.value.remedy


@pytest.mark.parametrize(
    ("fill", "command"), [(begun_study, "preceptor study PLAN"), (begun_search, "preceptor tune RECIPE")]
)
def test_what_continues_a_study_or_a_search_is_said_where_a_run_is_asked_for(
    fill: Fill, command: str, tmp_path: Path
) -> None:
    """And not that its folder may be removed."""
    fill(tmp_path / "out")
    with pytest.raises(PreceptorError, match=r"holds a (study|search), not a run") as caught:
        resume(tmp_path / "out")
    assert caught.value.remedy.startswith(f"{command} --out {tmp_path / 'out'} continues it")
    assert "remove" not in caught.value.remedy


def test_a_folder_without_a_run_is_not_to_be_removed(tmp_path: Path) -> None:
    (tmp_path / "recipe.txt").write_text("")
    with pytest.raises(PreceptorError, match="is missing") as caught:
        resume(tmp_path)
    assert "remove" not in caught.value.remedy


def test_a_run_with_a_plan_beside_it_is_still_a_run(tmp_path: Path) -> None:
    for name in (*FIRST, "study.yaml"):
        (tmp_path / name).touch()
    assert kind_of(tmp_path) == "run"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
