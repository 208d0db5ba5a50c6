"""No command replaces a file that it would not itself have written."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import preceptor
from conftest import TINY
from preceptor.api.measurement import refuse_foreign_folder
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import refuse_foreign

STUDENT = {"networks.student.backbone": "test_efficientnet", "networks.student.pretrained": "none"}


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


def test_an_evaluation_that_was_killed_goes_on_in_its_folder(tmp_path: Path) -> None:
    """With its first file, half of it, or one of several runs alone."""
    out, runs = tmp_path / "out", [tmp_path / "kd", tmp_path / "student"]
    (out / "kd").mkdir(parents=True)
    refuse_foreign_folder(out, runs)
    (out / "kd" / ".predictions.csv.4711.tmp").write_text("id,pa")
    refuse_foreign_folder(out, runs)
    refuse_foreign_folder(out / "kd", runs[:1])
    (out / "kd" / "predictions.csv").write_text("id,part,network\n")
    (out / "kd" / ".metrics.json.4711.tmp").write_text("{")
    (out / ".report.tex.4711.tmp").write_text("\\doc")
    (out / "student").mkdir()
    refuse_foreign_folder(out, runs)
    refuse_foreign_folder(out / "kd", runs[:1])
    for theirs in (out / "student" / "predictions.csv", out / "notes.txt", out / "kd.txt"):
        theirs.write_text("mine")
        with pytest.raises(PreceptorError, match=rf"holds '(student/)?{theirs.name}', which no evaluation wrote"):
            refuse_foreign_folder(out, runs)
        theirs.unlink()
    (out / "kd" / "thesis.tex").write_text("mine")
    with pytest.raises(PreceptorError, match=r"thesis\.tex"):
        refuse_foreign_folder(out / "kd", runs[:1])


def test_the_first_file_of_an_evaluation_is_the_one_that_it_is_known_by(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = preceptor.train("student", {**TINY, "epochs": 1, **STUDENT}, data="phantom", root=phantom_root,
                          out=tmp_path / "run")  # fmt: skip
    written: list[str] = []
    real = Path.replace
    monkeypatch.setattr(Path, "replace", lambda one, other: written.append(Path(other).name) or real(one, other))
    preceptor.evaluate(run, out=tmp_path / "out", part="validation")
    assert written[:2] == ["predictions.csv", "metrics.json"]


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
