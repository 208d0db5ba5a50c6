"""The examples run as they stand, and a plug-in package is taken up by its entry points."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*words: object, path: Path | None = None) -> str:
    environment = {**os.environ, **({"PYTHONPATH": f"{path}:{os.environ.get('PYTHONPATH', '')}"} if path else {})}
    done = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kd_in_your_own_loop() -> None:
    script = EXAMPLES / "kd_in_your_own_loop.py"
    assert len(script.read_text(encoding="utf-8").splitlines()) < 80
    accuracy = dict(line.rsplit(maxsplit=1) for line in run(script).splitlines())
    assert list(accuracy) == ["teacher", "student alone", "student distilled"]
    assert all(0.4 < float(value) < 1 for value in accuracy.values())


def test_relations_in_your_own_loop() -> None:
    lines = run(EXAMPLES / "relations_in_your_own_loop.py").splitlines()
    assert [line.split()[0] for line in lines] == ["crd", "ccd", "rkd", "sskd"]
    for line in lines:
        first, last = map(float, re.findall(r"\d+\.\d+", line))
        assert last < first, line


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder that holds the plug-in as pip would install it, without a build."""
    project = tomllib.loads((EXAMPLES / "plugin" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (tmp_path / "tempered_margin").symlink_to(EXAMPLES / "plugin" / "src" / "tempered_margin")
    metadata = tmp_path / "tempered_margin-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    groups = (
        "\n".join([f"[{group}]", *(f"{name} = {module}" for name, module in points.items())])
        for group, points in project["entry-points"].items()
    )
    (metadata / "entry_points.txt").write_text("\n\n".join(groups))
    return tmp_path


@pytest.mark.slow
def test_a_plug_in_is_found_checked_and_trained(installed: Path, phantom_root: Path) -> None:
    assert "tempered_margin" in run("-m", "preceptor", "recipes", path=installed)
    run("-c", "from preceptor.testing import check_loss; check_loss('tempered_margin')", path=installed)
    small = ["image_size=32", "epochs=1", "networks.student.backbone=test_resnet", "weight=0.5"]
    teacher = ["networks.teacher.backbone=test_resnet", "networks.teacher.pretrained=none"]
    words = ["-m", "preceptor", "train", "tempered_margin", "--data", "phantom", "--root", phantom_root]
    run(*words, "--out", installed / "run", *small, *teacher, path=installed)
    assert '"mean_margin"' in (installed / "run" / "metrics.json").read_text(encoding="utf-8")
