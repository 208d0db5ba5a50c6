"""The examples run as they stand, and a plug-in package is taken up by its entry points."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_kd_in_your_own_loop(capsys: pytest.CaptureFixture[str]) -> None:
    script = EXAMPLES / "kd_in_your_own_loop.py"
    assert len(script.read_text(encoding="utf-8").splitlines()) < 80
    runpy.run_path(str(script), run_name="__main__")
    accuracy = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(accuracy) == ["teacher", "student alone", "student distilled"]
    assert all(0.4 < float(value) < 1 for value in accuracy.values())


def test_relations_in_your_own_loop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["relations_in_your_own_loop.py"])
    runpy.run_path(str(EXAMPLES / "relations_in_your_own_loop.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
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


PLUG_IN = """
import sys
from preceptor.cli import app
from preceptor.testing import check_loss

app(["recipes"], standalone_mode=False)
check_loss("tempered_margin")
app(["train", *sys.argv[1:]], standalone_mode=False)
"""


@pytest.mark.slow
def test_a_plug_in_is_found_checked_and_trained(installed: Path, phantom_root: Path) -> None:
    """In a process that starts with it installed."""
    small = ["image_size=32", "epochs=1", "networks.student.backbone=test_resnet", "weight=0.5"]
    teacher = ["networks.teacher.backbone=test_resnet", "networks.teacher.pretrained=none"]
    words = ["tempered_margin", "--data", "phantom", "--root", str(phantom_root), "--out", str(installed / "run")]
    environment = {**os.environ, "PYTHONPATH": f"{installed}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-c", PLUG_IN, *words, *small, *teacher]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "tempered_margin" in done.stdout
    assert '"mean_margin"' in (installed / "run" / "metrics.json").read_text(encoding="utf-8")
