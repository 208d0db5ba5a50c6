"""No command replaces a file that it would not itself have written."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import preceptor
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import refuse_foreign


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    path = tmp_path / "photos" / "a.png"
    Image.new("RGB", (8, 8), (200, 100, 50)).save(path)
    return path


def unchanged(path: Path, content: bytes) -> bool:
    return path.read_bytes() == content


def test_predictions_do_not_replace_photographs(photo: Path) -> None:
    content = photo.read_bytes()
    with pytest.raises(PreceptorError, match="holds the image"):
        preceptor.predict("run", photo, out=photo.parent)
    with pytest.raises(PreceptorError, match="not a file that this command wrote"):
        preceptor.predict("run", photo, out=photo)
    assert unchanged(photo, content)


def test_a_report_replaces_a_report_alone(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: kd\n")
    with pytest.raises(PreceptorError, match="not a file that this command wrote"):
        preceptor.report(tmp_path, out=recipe)
    assert recipe.read_text() == "name: kd\n"
    page = tmp_path / "report.html"
    page.write_text("<title>kd · run report · Preceptor</title>", encoding="utf-8")
    with pytest.raises(PreceptorError, match=r"recipe|finished"):  # it looks at the run next
        preceptor.report(tmp_path, out=page)


def test_an_evaluation_does_not_go_into_a_run(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / "recipe.yaml").write_text("name: kd\n")
    with pytest.raises(PreceptorError, match="which no evaluation wrote"):
        preceptor.evaluate(tmp_path, out=tmp_path)


@pytest.mark.parametrize("option", ["json", "csv"])
def test_a_profile_replaces_a_profile_alone(option: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.write_text("mine")
    with pytest.raises(PreceptorError, match=f"'{option}' .*not a file that this command wrote"):
        preceptor.profile("run.safetensors", **{option: notes})
    assert notes.read_text() == "mine"


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mark here")
    refuse_foreign(tmp_path / "new" / "deep" / "x.csv", [b"mark"])
    refuse_foreign(tmp_path / "file", [b"mark"])
    with pytest.raises(PreceptorError, match="is a file"):
        refuse_foreign(tmp_path / "file" / "x.csv", [b"mark"])
    with pytest.raises(PreceptorError, match="is a folder"):
        refuse_foreign(tmp_path, [b"mark"])
