"""Relations, flow of errors and gallery in a report: there when runs hold them, and only then."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_curve

from fake_run import ALONE, TAUGHT, write_fake_run
from page import Page
from preceptor.data.class_names import full_names
from preceptor.report import figures
from preceptor.report.entries import entries_of, load_runs
from preceptor.report.gallery import TILE, Case, Explained, Gallery, Map, encode, read_gallery, write_gallery
from preceptor.report.relations import relation_section
from preceptor.report.run_report import write_report
from preceptor.report.tables import area_table, distinct
from preceptor.utils.errors import PreceptorError

GREY = encode(Image.new("RGB", (TILE, TILE), (90, 90, 90)))
GALLERY = Gallery(
    "kd beside student",
    ("Two images.",),
    (Explained("teacher", "resnet18", "kd, teacher"), Explained("student alone", "<small>", "student, student")),
    (Case("ISIC_1", "mel", GREY, (Map("mel", 0.93, True, GREY), Map("nv", 0.61, False, GREY))),),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("runs")
    return [
        write_fake_run(base / "student", replace(ALONE, relations=True)),
        write_fake_run(base / "kd", replace(TAUGHT, relations=True)),
    ]


@pytest.fixture(scope="module")
def page(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(runs, tmp_path_factory.mktemp("out"))


def page_of(runs: list[Path], folder: Path) -> str:
    return write_report(runs, folder / "report.html").read_text(encoding="utf-8")


def test_old_runs_have_no_new_sections(tmp_path: Path) -> None:
    page = page_of([write_fake_run(tmp_path / "student", ALONE)], tmp_path)
    for section in ("relations", "flow", "looks"):
        assert f'id="{section}"' not in page
        assert f'href="#{section}"' not in page


def test_relations_stand_side_by_side(runs: list[Path], page: str) -> None:
    section = page[page.index('id="relations"') : page.index('id="failures"')]
    assert section.count("data:image/png;base64,") == section.count("<svg") == 3
    for entry in entries_of(load_runs(runs)):
        assert f"{entry.label}: R<sub>d</sub> {entry.result.relations['r_d']:.2f}" in section
        assert f">{entry.run.classes[0]}<title>" in section
    parsed = Page(page)
    assert parsed.open == []
    assert all(value[0] == "#" or value.startswith("data:") for _, name, value in parsed.attributes if name == "href")
    assert "://" not in page


def test_one_scale_for_all_matrices(runs: list[Path]) -> None:
    """Its ends are percentiles over all networks, so a matrix looks otherwise beside another run."""
    section, alone = (relation_section(entries_of(load_runs(some))) for some in (runs, runs[1:]))
    assert section is not None
    assert alone is not None
    held = [np.load(run / "relations.npz")["similarity"].astype(float) for run in runs]
    between = np.concatenate([item[:, ~np.eye(item.shape[1], dtype=bool)].ravel() for item in held])
    assert [section.low, section.high] == np.percentile(between, [1, 99]).tolist()
    assert section.figures[1].svg != alone.figures[0].svg


def test_curves_are_held_as_whole_numbers_of_images(runs: list[Path]) -> None:
    """Their shares are those of scikit-learn, to the last bit."""
    for entry in entries_of(load_runs(runs)):
        table = entry.predictions
        for code in entry.run.classes:
            is_class = table["target"] == code
            wrong, right, _ = roc_curve(is_class, table[f"p_{code}"])
            curve = figures.roc_curve_of(entry, code)
            assert (curve.cases, curve.others) == (is_class.sum(), (~is_class).sum())
            assert np.array_equal(curve.called_others / curve.others, wrong)
            assert np.array_equal(curve.called_cases / curve.cases, right)
            assert curve.called_cases.dtype.kind == "u"


def test_a_run_without_matrices_stands_beside_one_with(runs: list[Path], tmp_path: Path) -> None:
    old = write_fake_run(tmp_path / "old", ALONE)
    section = relation_section(entries_of(load_runs([old, runs[0]])))
    assert section is not None
    assert len(section.figures) == 1


@pytest.mark.parametrize("damage", ["cut", "classes"])
def test_matrices_that_are_broken_or_foreign_are_named(runs: list[Path], tmp_path: Path, damage: str) -> None:
    path = shutil.copytree(runs[0], tmp_path / "run") / "relations.npz"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        held = dict(np.load(path))
        np.savez(path, **(held | {"classes": np.array(["x", "y", "z"])}))
    with pytest.raises(PreceptorError, match=re.escape(str(path))):
        relation_section(entries_of(load_runs([path.parent])))


def test_flow_stands_in_the_report_of_a_pair(runs: list[Path], page: str) -> None:
    text = Page(page).text
    alone, _, taught = entries_of(load_runs(runs))
    table = alone.predictions.merge(taught.predictions, on=["id", "target"], suffixes=("_alone", "_taught"))
    wrong = table["predicted_alone"] != table["target"]
    mended = table[wrong & (table["predicted_taught"] == table["target"])]
    assert f"{len(mended)} errors corrected" in text
    name, called = mended.groupby(["target", "predicted_alone"]).size().idxmax()
    so = table[(table["target"] == name) & (table["predicted_alone"] == called)]
    words = " ".join(full_names("ham10000", [name, called]))
    assert f"{words} {(so['predicted_taught'] == name).sum()} of {len(so)}" in text


def test_a_teacher_of_several_runs_is_drawn_once(runs: list[Path], tmp_path: Path) -> None:
    again = shutil.copytree(runs[1], tmp_path / "kd-again")
    entries = entries_of(load_runs([*runs, again]))
    labels = [entry.label for entry in distinct(entries)]
    assert labels == ["student", "kd · teacher", "kd · student", "kd-again · student"]
    other = write_fake_run(tmp_path / "other", replace(TAUGHT, split_seed=3))
    assert len(distinct(entries_of(load_runs([runs[1], other])))) == 4


@pytest.fixture(scope="module")
def explained(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run with a gallery, and its page, made when a ROC panel has no room for two figures."""
    path = shutil.copytree(runs[1], tmp_path_factory.mktemp("explained") / "kd")
    write_gallery(GALLERY, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "MOST_AREAS", 1)
        return path, page_of([path], path)


def test_areas_are_written_out_where_the_panels_have_no_room(page: str, explained: tuple[Path, str]) -> None:
    assert "area under the curve" not in page
    assert "area under the curve" in explained[1]
    for entry in entries_of(load_runs([explained[0]])):
        ((_, areas),) = area_table([entry], entry.run.classes)
        assert np.mean(areas) == pytest.approx(entry.test["macro_auc"])
        assert all(f"<td>{area:.3f}</td>" in explained[1] for area in areas)


def test_gallery_is_embedded_and_is_a_page_and_a_picture(explained: tuple[Path, str]) -> None:
    path, report = explained
    assert read_gallery(path) == GALLERY
    for page in ((path / "explain.html").read_text(encoding="utf-8"), report):
        parsed = Page(page)
        assert parsed.open == []
        assert "nv 0.61, wrong" in parsed.text
        assert "<small> " in parsed.text, "a name is not markup"
        pictures = [value for tag, name, value in parsed.attributes if (tag, name) == ("img", "src")]
        assert len(pictures) == 3
        assert all(picture.startswith("data:image/jpeg;base64,") for picture in pictures)
    with Image.open(path / "explain.png") as sheet:
        assert sheet.width > 3 * TILE
        assert sheet.getpixel((sheet.width - TILE, sheet.height - TILE)) == pytest.approx((90, 90, 90), abs=3)


def test_a_gallery_of_quick_runs_says_that_it_is_no_evidence(tmp_path: Path) -> None:
    """On the page, and on the picture in a band of its own."""
    for name, gallery in (("plain", GALLERY), ("quick", replace(GALLERY, quick=("kd", "student")))):
        (tmp_path / name).mkdir()
        write_gallery(gallery, tmp_path / name)
        assert read_gallery(tmp_path / name) == gallery
    plain, quick = ((tmp_path / name / "explain.html").read_text(encoding="utf-8") for name in ("plain", "quick"))
    assert "evidence" not in Page(plain).text.replace("found evidence", "")
    text = Page(quick).text
    assert "kd beside student (quick: not evidence)" in text
    assert "Quick: not evidence From a quick study: kd and student." in re.sub(r"\s+", " ", text)
    bare, marked = (np.asarray(Image.open(tmp_path / name / "explain.png")) for name in ("plain", "quick"))
    band = len(marked) - len(bare)
    assert band > 0
    assert (marked[band:] == bare).all()
    assert (marked[:band] != 255).any()


def test_broken_gallery_is_named(runs: list[Path], tmp_path: Path) -> None:
    path = shutil.copytree(runs[0], tmp_path / "run")
    (path / "explain.json").write_text('{"format": 2}')
    with pytest.raises(PreceptorError, match=r"explain\.json is no gallery"):
        read_gallery(path)
    (path / "explain.json").write_text('{"format": 1}')
    with pytest.raises(PreceptorError, match="its format is 1"):
        read_gallery(path)


def test_a_gallery_that_was_stopped_half_way_is_not_taken_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(gallery: Gallery, path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("preceptor.report.gallery.write_sheet", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_gallery(GALLERY, tmp_path)
    assert read_gallery(tmp_path) is None
