"""The page that the demo ends with, and the one in ``docs/demo``."""

from __future__ import annotations

from pathlib import Path

import pytest

from chromium import chromium
from conftest import without_reports
from preceptor import train
from preceptor.demo import _web_page
from preceptor.deploy import page
from preceptor.deploy.page.web_runtime import VARIABLE
from preceptor.runs.directory import Run

from .conftest import ONE_EPOCH
from .test_page import in_a_browser, show

COMMITTED = Path(__file__).parents[2] / "docs" / "demo" / "phantom.html"


@pytest.fixture(scope="module")
def student(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("student") / "run"
    overrides = {**ONE_EPOCH, "networks.student.backbone": "test_resnet", "networks.student.pretrained": "none"}
    with without_reports():
        return train("student", data="phantom", root=phantom_root, out=out, overrides=overrides)


def test_the_demo_ends_with_a_page_and_an_example_of_each_class(
    student: Run, web_runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(web_runtime))
    assert "in a browser" in _web_page(student, tmp_path / "exported")
    text = (tmp_path / "exported" / "index.html").read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == len(student.metrics.classes)


def test_without_the_browsers_runtime_the_demo_says_how_to_get_it(
    student: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    text = _web_page(student, tmp_path / "exported")
    assert f"npm install --prefix '{tmp_path}' onnxruntime-web@" in text
    assert f"preceptor export {student.path}" in text
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize("script", ["page.js", "photo_file.js"])
def test_the_committed_page_has_the_scripts_of_today(script: str) -> None:
    """Else it accepts what exports of today refuse: write it anew with ``preceptor demo``."""
    assert (Path(page.__file__).parent / script).read_text(encoding="utf-8") in COMMITTED.read_text(encoding="utf-8")


def test_the_committed_page_is_small_enough_for_a_repository() -> None:
    assert COMMITTED.stat().st_size < 8e6


@in_a_browser
def test_the_committed_page_predicts_its_examples(tmp_path: Path) -> None:
    with chromium(tmp_path / "browser") as tab:
        show(tab, COMMITTED)
        tab.evaluate("document.querySelectorAll('#examples button').forEach(button => button.click())")
        tab.wait_for("document.querySelectorAll('article[data-probabilities]').length === 7")
        assert tab.messages == []
