"""The script for a machine with a GPU, as far as it goes without one: its parts at small sizes, and what may fail."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import device
from benchmarks.device import Report, cases, covered, time_case, time_literal
from benchmarks.device_exactness import exactness
from benchmarks.device_study import archive


def test_losses_on_the_device_are_those_in_double_precision() -> None:
    figures = exactness(dry=True)
    assert len(figures["losses"]) == 5
    assert 0 < figures["largest"] < 1e-4


def test_a_step_is_timed_in_the_mode_that_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    modes = []
    real = device.engine_step
    monkeypatch.setattr(device, "engine_step", lambda training: modes.append(training.modes) or real(training))
    case = cases(dry=True)[0]
    figures = time_case(case, "bf16", 1, tmp_path)
    assert min(figures.values()) > 0
    assert figures["images_per_second"] == pytest.approx(case.batch / figures["seconds"])
    assert {str(mode) for mode in modes[0].values()} == {"bf16"}


def test_the_released_step_is_timed() -> None:
    assert time_literal(cases(dry=True)[0], repeats=1)["seconds"] > 0


@pytest.mark.parametrize(
    ("spans", "length"),
    [([], 0), ([(0, 4), (2, 5), (7, 8)], 6), ([(0, 10), (1, 2), (3, 4)], 10), ([(5, 6), (6, 9)], 4)],
)
def test_overlapping_kernels_count_once(spans: list[tuple[int, int]], length: int) -> None:
    assert covered(spans) == length


def test_every_case_fits_its_recipe() -> None:
    assert [case.name for case in cases(dry=False)] == [
        "kd small",
        "crckd 112 px",
        "crckd 224 px",
        "ssd_kd 224 px",
        "kd 224 px",
        "kd_ml_v3 U-Nets 224 px",
    ]
    for case in cases(dry=False):
        device.resolve(case.recipe, {"image_size": case.side, "batch_size": case.batch, **case.changes})


def test_an_engine_test_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "test_two.py"
    file.write_text("def test_sound(): pass\ndef test_broken(): assert False\n")
    monkeypatch.setattr(device, "DRY_TESTS", (str(file), "-n0"))
    figures = device.engine_tests(dry=True, seconds=60)
    assert (figures["exit"], figures["passed"]) == (1, 1)
    assert any("test_broken" in line for line in figures["failed"])


def test_a_study_comes_home_without_its_weights(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    kept = ["cells.json", *(f"cells/kd-fold{fold}-seed0-ab/metrics.json" for fold in range(5))]
    left = ["cells/kd-fold0-seed0-ab/student.safetensors", "cells/kd-fold0-seed0-ab/checkpoints/notes.txt", ".lock"]
    for name in (*kept, *left):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    for packed in archive(folder, tmp_path / "archives"):
        with tarfile.open(packed) as file:
            file.extractall(tmp_path / "home", filter="data")
    home = tmp_path / "home" / "study"
    files = {path.relative_to(home).as_posix(): path.read_text() for path in home.rglob("*") if path.is_file()}
    assert files == {name: name for name in kept}


def test_a_part_that_fails_leaves_the_others(tmp_path: Path) -> None:
    report = Report(tmp_path / "out" / "device.json", seconds=60)
    report.add("broken", lambda: 1 / 0)
    report.add("sound", lambda: {"value": torch.tensor(1.5).item()})
    report.add("late", lambda: {}, least=100)
    figures = json.loads(report.file.read_text())
    assert "ZeroDivisionError" in figures["broken"]["error"]
    assert figures["sound"] == {"value": 1.5}
    assert "s were left" in figures["late"]["skipped"]
    assert figures["machine"]["torch"] == torch.__version__
