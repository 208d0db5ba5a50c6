"""Which pair of cells a study's gallery is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import preceptor.report.explain
from fake_study import FakeStudy, write_fake_study
from preceptor.report.study_gallery import write_study_gallery

SMALL = FakeStudy(classes=("bkl", "mel", "nv"), images=160, epochs=4, rows=("Student alone", "KD", "RKD"), folds=(0, 1))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    calls: list[tuple[str, str, str]] = []

    def explain(path: Path, alone: Path, *, network: str) -> None:
        calls.append((path.name, alone.name, network))

    monkeypatch.setattr(preceptor.report.explain, "explain", explain)
    return calls


def test_the_last_method_is_looked_at_beside_the_student_alone(asked: list[Any], tmp_path: Path) -> None:
    write_study_gallery(write_fake_study(tmp_path / "s", SMALL))
    assert asked == [("rkd-fold0-seed0", "student-alone-fold0-seed0", "student")]


def test_only_cells_on_the_same_images_are_a_pair(asked: list[Any], tmp_path: Path) -> None:
    write_study_gallery(write_fake_study(tmp_path / "s", replace(SMALL, failed=(("RKD", 0, 0),))))
    assert asked == [("rkd-fold1-seed0", "student-alone-fold1-seed0", "student")]


def test_nothing_is_looked_at_without_a_student_alone_or_of_masks(asked: list[Any], tmp_path: Path) -> None:
    assert write_study_gallery(write_fake_study(tmp_path / "taught", replace(SMALL, rows=("KD", "RKD")))) is None
    assert write_study_gallery(write_fake_study(tmp_path / "masks", replace(SMALL, masks=True))) is None
    assert asked == []
