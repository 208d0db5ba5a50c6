"""``preceptor doctor``: what it finds, what it refuses, and that it needs no torch."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

import preceptor
from in_turn import run_in_turn
from preceptor.api.doctor import Check
from preceptor.utils.errors import PreceptorError
from preceptor.utils.machine import cuda_of_torch, usable_cores
from preceptor.utils.packages import extras, required
from without_torch import WITHOUT_TORCH


def of(subject: str, checks: list[Check]) -> Check:
    return next(check for check in checks if check.subject == subject)


def test_every_subject_has_a_finding(tmp_path: Path) -> None:
    checks = preceptor.doctor(tmp_path, cache=tmp_path / "cache")
    assert {"preceptor", "python", "packages", "processor", "memory", "GPU", "cache", "disk"} <= {
        check.subject for check in checks
    }
    assert all(check.finding for check in checks)
    assert f"numpy {metadata.version('numpy')}" in of("packages", checks).finding
    assert str(tmp_path / "cache") in of("cache", checks).finding


def test_checks_come_while_they_are_made(tmp_path: Path) -> None:
    heard: list[Check] = []
    assert preceptor.doctor(tmp_path, say=heard.append) == heard


def test_a_missing_extra_has_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: _absent(name) if name == "optuna" else version(name))
    tune = of("extra tune", preceptor.doctor(tmp_path))
    assert "optuna missing" in tune.finding
    assert (tune.problem, tune.remedy) == ("", "pip install 'preceptor[tune]'")


def _absent(name: str) -> str:
    raise metadata.PackageNotFoundError(name)


def test_an_old_package_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.26.4" if name == "numpy" else version(name))
    check = of("packages", preceptor.doctor(tmp_path))
    assert "numpy 1.26.4 (needs <3,>=2)" in check.problem
    assert check.remedy == "pip install 'numpy<3,>=2'"


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check = of("cache", preceptor.doctor(tmp_path, cache=tmp_path / "file" / "cache"))
    assert "is a file" in check.problem
    assert "PRECEPTOR_CACHE" in check.remedy


def test_wrong_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PreceptorError, match="nowhere does not exist"):
        preceptor.doctor(tmp_path / "nowhere")
    with pytest.raises(PreceptorError, match="file is not a folder"):
        preceptor.doctor(tmp_path / "file")
    with pytest.raises(PreceptorError, match=r"'cache' .*file is a file"):
        preceptor.doctor(tmp_path, cache=tmp_path / "file")


def test_the_command_needs_no_torch(tmp_path: Path) -> None:
    commands = [["doctor", str(tmp_path)], ["doctor", str(tmp_path / "nowhere")]]
    done, refused = run_in_turn(WITHOUT_TORCH, commands, tmp_path)
    assert done.code == 0, done.errors
    assert done.output.startswith("preceptor ")
    assert refused.code == 2


def test_what_the_machine_says() -> None:
    import torch

    assert usable_cores() >= 1
    assert cuda_of_torch() == torch.version.cuda
    assert {"dev", "docs"}.isdisjoint(extras())
    assert all(package.fits for package in required())
