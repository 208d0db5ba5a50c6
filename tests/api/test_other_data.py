"""Runs on another data set: classes mapped, own images refused, differences paired, one report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

import preceptor
from conftest import KNOBS, TINY, without_reports
from page import Page
from preceptor import PreceptorError, PreceptorWarning
from preceptor.data.phantom import Phantom, write_phantom
from preceptor.data.readers import read
from preceptor.runs.directory import Run

SMALL = {**TINY, "epochs": 1, "networks.student.backbone": "test_resnet", "networks.student.pretrained": "none"}
TEACHER = {"networks.teacher.backbone": "test_resnet", "networks.teacher.pretrained": "none"}


@pytest.fixture(scope="module")
def runs(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A student alone and one that a teacher taught, on one split of the phantom."""
    base = tmp_path_factory.mktemp("runs")
    with without_reports():
        for recipe, more in (("student", {}), ("kd", TEACHER)):
            preceptor.train(recipe, SMALL | more, data="phantom", root=phantom_root, out=base / recipe, progress=False)
    return [base / "student", base / "kd"]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of another phantom in folders with other class names, and a class without a counterpart."""
    root = tmp_path_factory.mktemp("other")
    write_phantom(root / "phantom", Phantom(**{**KNOBS, "images": 90, "seed": 5}))  # type: ignore[arg-type]
    catalog = read("phantom", root / "phantom", {})
    names = {"mel": "melanoma", "nv": "nevus", "bcc": "carcinoma", "vasc": "angioma"}
    for row, label in enumerate(catalog.table["label"]):
        if label in names:
            folder = root / "data" / names[label]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(catalog.path(row), folder)
    return root / "data"


CLASSES = {"melanoma": "mel", "nevus": "nv", "carcinoma": "bcc", "angioma": None}


@pytest.fixture(scope="module")
def evaluated(runs: list[Path], other: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "external"
    result = preceptor.evaluate(runs, data="folder", root=other, classes=CLASSES, out=out, progress=False)
    assert set(result.metrics) == {"student/student", "kd/teacher", "kd/student"}
    assert result.page == out / "report.html"
    assert any("Left out" in sentence for sentence in result.notes)
    assert any(sentence.startswith("kd/student: its largest probability tells its own") for sentence in result.notes)
    return out


def test_metrics_are_of_the_classes_that_are_there(evaluated: Path, other: Path) -> None:
    metrics = json.loads((evaluated / "kd" / "metrics.json").read_text())["student"]
    assert metrics["absent_classes"] == ["akiec", "bkl", "df", "vasc"]
    table = pd.read_csv(evaluated / "kd" / "predictions.csv")
    rows = table[(table["part"] == "folder") & (table["network"] == "student")]
    images = sum(len(list((other / name).iterdir())) for name in ("melanoma", "nevus", "carcinoma"))
    assert len(rows) == images == metrics["cases"]
    assert set(rows["target"]) == {"mel", "nv", "bcc"}
    recalls = (rows["predicted"] == rows["target"]).groupby(rows["target"]).mean()
    assert metrics["balanced_accuracy"] == pytest.approx(recalls.mean())


def test_thresholds_are_of_the_runs_own_validation_part(evaluated: Path, runs: list[Path]) -> None:
    table = pd.read_csv(evaluated / "kd" / "predictions.csv")
    own = Run(runs[1]).predictions
    for part in (table, own):
        assert set(part.loc[part["part"] == "validation", "network"]) == {"teacher", "student"}
    pd.testing.assert_series_equal(
        table.loc[table["part"] == "validation", "p_mel"].reset_index(drop=True),
        own.loc[own["part"] == "validation", "p_mel"].reset_index(drop=True),
    )


def test_the_report_pairs_networks_on_the_same_images(evaluated: Path) -> None:
    text = (evaluated / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open
    assert {"carried-over", "operating-points", "calibration"} <= set(page.ids)
    assert "training" not in page.ids
    words = " ".join(page.words)
    assert "kd · student minus student (trained alone)" in words
    assert "kd · student minus kd · teacher (its teacher)" in words
    assert "There is no image of akiec, bkl, df and vasc" in words


def test_numbers_of_the_comparison_are_in_the_table_beside_the_page(evaluated: Path) -> None:
    table = pd.read_csv(evaluated / "report.csv")
    carried = table[table["of"] == "carried over to folder"]
    student = carried[carried["network"] == "kd · student"].set_index("quantity")["value"]
    metrics = json.loads((evaluated / "kd" / "metrics.json").read_text())["student"]
    assert student["there"] == pytest.approx(metrics["balanced_accuracy"])
    assert student["change"] == pytest.approx(student["there"] - student["own test part"])


def test_confidence_is_compared_with_that_on_the_own_test_part(evaluated: Path, runs: list[Path]) -> None:
    table = pd.read_csv(evaluated / "report.csv")
    row = table[(table["of"] == "own test part against folder") & (table["network"] == "kd · student")].iloc[0]
    own, foreign = Run(runs[1]).predictions, pd.read_csv(evaluated / "kd" / "predictions.csv")
    tables = own[own["part"] == "test"], foreign[foreign["part"] == "folder"]
    scores = [part[part["network"] == "student"].filter(like="p_").to_numpy().max(axis=1) for part in tables]
    is_own = np.repeat([1, 0], [len(each) for each in scores])
    assert row["value"] == pytest.approx(roc_auc_score(is_own, np.concatenate(scores)))
    assert row["low"] < row["value"] < row["high"]
    words = " ".join(Page((evaluated / "report.html").read_text(encoding="utf-8")).words)
    assert "AUROC, own test part against folder" in words
    assert "Hendrycks" in (evaluated / "report.bib").read_text()


def test_merged_classes_are_judged_as_one(runs: list[Path], other: Path, tmp_path: Path) -> None:
    merged = tmp_path / "data"
    for name, folder in (("melanoma", "malignant"), ("carcinoma", "malignant"), ("nevus", "nv")):
        shutil.copytree(other / name, merged / folder, dirs_exist_ok=True)
    mapping = tmp_path / "map.yaml"
    mapping.write_text("malignant: [mel, bcc, akiec]\n")
    preceptor.evaluate(runs[0], data="folder", root=merged, classes=mapping, out=tmp_path / "out", progress=False)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())["student"]
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv").query("part == 'folder'")
    assert [name for name in rows.columns if name.startswith("p_")] == [
        "p_malignant",
        "p_bkl",
        "p_df",
        "p_nv",
        "p_vasc",
    ]
    areas = [roc_auc_score(rows["target"] == name, rows[f"p_{name}"]) for name in ("malignant", "nv")]
    assert metrics["macro_auc"] == pytest.approx(np.mean(areas))


def test_own_training_images_are_refused_by_content(runs: list[Path], phantom_root: Path, tmp_path: Path) -> None:
    run = Run(runs[0])
    catalog = run.catalog()
    parts = dict(zip(run.split["id"], run.split["part"], strict=True))
    rows = {
        part: [row for row, name in enumerate(catalog.table["id"]) if parts[name] == part]
        for part in set(parts.values())
    }
    for number, row in enumerate(rows["train"][:3] + rows["test"][:6]):
        folder = tmp_path / "data" / str(catalog.table.at[row, "label"])
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(catalog.path(row), folder / f"renamed{number}{catalog.path(row).suffix}")
    if len(list((tmp_path / "data").iterdir())) < 2:
        pytest.skip("the phantom's first images are of one class")
    with pytest.raises(PreceptorError, match=r"3 of the 9 images of folder are the runs' own \(3 of a training part"):
        preceptor.evaluate(runs[0], data="folder", root=tmp_path / "data", progress=False)
    result = preceptor.evaluate(runs[0], data="folder", root=tmp_path / "data", skip_known=True, progress=False)
    assert result.metrics["student"]["cases"] == 6


@pytest.fixture
def table_run(other: Path, tmp_path: Path) -> Path:
    """A run trained on a table of images with users' own names."""
    files = sorted(file for file in other.rglob("*") if file.is_file() and file.parent.name != "angioma")
    for number, file in enumerate(files):
        folder = tmp_path / "own" / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / f"{number:03d}{file.suffix}")
    names = sorted(str(file.relative_to(tmp_path)) for file in (tmp_path / "own").rglob("*") if file.is_file())
    rows = [f"{name},{Path(name).parent.name}" for name in names]
    (tmp_path / "list.csv").write_text("\n".join(["image,label", *rows]))
    with without_reports():
        preceptor.train(
            "student", SMALL, data="table", root=tmp_path / "list.csv", out=tmp_path / "run", progress=False
        )
    return tmp_path / "run"


def test_training_images_are_refused_though_the_table_has_grown_since(table_run: Path, tmp_path: Path) -> None:
    """A change of the training data must not switch the comparison off."""
    shutil.copytree(tmp_path / "own", tmp_path / "renamed")
    for file in (tmp_path / "renamed").rglob("*.*"):
        file.rename(file.with_name(f"x{file.name}"))
    with (tmp_path / "list.csv").open("a") as table:
        table.write(
            "\n" + (tmp_path / "list.csv").read_text().splitlines()[1].replace("own/", "renamed/").replace("/0", "/x0")
        )
    with pytest.raises(PreceptorError, match=r"images of folder are the runs' own"):
        preceptor.evaluate(table_run, data="folder", root=tmp_path / "renamed", progress=False)


def test_where_the_training_data_are_gone_a_warning_says_so(table_run: Path, tmp_path: Path, other: Path) -> None:
    (tmp_path / "list.csv").rename(tmp_path / "moved.csv")
    with pytest.warns(
        PreceptorWarning, match=r"no image could be compared with those of run: .*list\.csv.* say nothing"
    ):
        preceptor.evaluate(table_run, data="folder", root=other, classes={"angioma": None}, progress=False)


def test_other_images_under_the_same_names_are_no_training_images(table_run: Path, tmp_path: Path) -> None:
    """As ``mel/001.png`` of another clinic."""
    draw = np.random.default_rng(3)
    names = [line.split(",") for line in (tmp_path / "list.csv").read_text().splitlines()[1:]]
    for name, _ in names:
        file = tmp_path / "clinic" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 255, (40, 40, 3)).astype(np.uint8)).save(file)
    shutil.copy(tmp_path / "list.csv", tmp_path / "clinic" / "list.csv")
    result = preceptor.evaluate(table_run, data="table", root=tmp_path / "clinic" / "list.csv", progress=False)
    assert result.metrics["student"]["cases"] == len(names)


def test_masks_in_the_place_of_photographs_are_named(runs: list[Path], tmp_path: Path) -> None:
    for name in ("mel", "nv"):
        (tmp_path / name).mkdir()
        for number in range(3):
            mask = np.zeros((40, 40), np.uint8)
            mask[5 + number : 25, 9 : 20 + ord(name[0]) % 7] = 255
            Image.fromarray(mask).save(tmp_path / name / f"{number}.png")
    result = preceptor.evaluate(runs[0], data="folder", root=tmp_path, progress=False)
    assert any(note.startswith("6 of 6 images look like masks") for note in result.notes)


def test_options_of_other_data_need_other_data(runs: list[Path]) -> None:
    with pytest.raises(PreceptorError, match="belong to other data"):
        preceptor.evaluate(runs[0], skip_known=True)
    with pytest.raises(PreceptorError, match="is given 2 times"):
        preceptor.evaluate([runs[0], runs[0]])


def test_several_runs_are_measured_on_their_own_test_parts(runs: list[Path], tmp_path: Path) -> None:
    result = preceptor.evaluate(runs, out=tmp_path / "out", progress=False)
    assert set(result.metrics) == {"student/student", "kd/teacher", "kd/student"}
    assert (tmp_path / "out" / "kd" / "metrics.json").is_file()
