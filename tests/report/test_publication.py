"""The files beside a run report: numbers, table, methods, checklist."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fake_run import ALONE, TAUGHT, write_fake_run, write_two
from page import Page
from preceptor.report.bibliography import METHODS, as_bibtex
from preceptor.report.entries import entries_of, load_runs
from preceptor.report.publication import files_beside
from preceptor.report.run_report import write_report
from preceptor.utils.errors import PreceptorError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("publication")
    write_report(write_two(base), base / "report.html")
    return base


def test_the_last_line_names_the_files(folder: Path) -> None:
    text = Page((folder / "report.html").read_text(encoding="utf-8")).text
    last = text[text.rindex("Beside this page") :]
    for name in files_beside(folder / "report.html"):
        assert name in last
        assert (folder / name).is_file()


def test_numbers_are_those_of_the_runs(folder: Path) -> None:
    table = pd.read_csv(folder / "report.csv").set_index(["network", "of", "quantity"])
    for entry in entries_of(load_runs([folder / "student", folder / "kd"])):
        row = table.loc[entry.label, "test part", "balanced_accuracy"]
        assert row["value"] == pytest.approx(entry.headline)
        assert row["low"] < row["value"] < row["high"]
    point = table.loc["kd · student", "melanoma", "sensitivity at 90% specificity"]
    assert 0 <= point["low"] <= point["value"] <= point["high"] <= 1
    assert table.index.is_unique


def test_the_latex_table_has_a_cell_for_every_column(folder: Path) -> None:
    text = (folder / "report.tex").read_text()
    columns = len(re.search(r"\\begin\{tabular\}\{l(c+)\}", text)[1]) + 1
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 4
    assert {line.count("&") + 1 for line in rows} == {columns}


def test_methods_are_cited_once(folder: Path) -> None:
    keys = re.findall(r"^@\w+\{(\w+),$", (folder / "report.bib").read_text(), flags=re.MULTILINE)
    assert len(keys) == len(set(keys))
    assert {"recipe_student", "recipe_kd", "decision_curve", "conformal", "claim"} <= set(keys)
    assert "grad_cam" not in keys, "no gallery was written"


def test_similarities_of_layers_cite_the_measure_and_its_estimator(tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "kd", TAUGHT)
    layers = {"rows_0": ["a", "b"], "columns_0": ["a", "b"], "values_0": np.eye(2)}
    np.savez(path / "layers.npz", pairs=[["teacher", "student"]], images=8, **layers)
    write_report([path], tmp_path / "page.html")
    text = (tmp_path / "page.bib").read_text(encoding="utf-8")
    assert "Similarity of Neural Network Representations Revisited" in text
    assert "Do Wide and Deep Networks Learn the Same Things?" in text


def test_every_method_is_whole_bibtex() -> None:
    text = as_bibtex({"a_b": "50 % & {more}"}, METHODS)
    assert text.count("{") == text.count("}")
    assert r"50 \% \& (more)" in text
    for _, fields in METHODS.values():
        assert {"author", "title", "year"} <= fields.keys()


def test_the_checklist_fills_in_what_is_known_and_lists_the_rest(tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "kd", replace(TAUGHT, notes=("two files are empty",)))
    write_report([path], tmp_path / "page.html")
    text = (tmp_path / "page.checklist.md").read_text(encoding="utf-8")
    assert "- [x] **Notes on the images**: two files are empty" in text
    assert "mobilenetv2_100" in text
    assert "- [ ] **Ethical approval and consent**: open" in text
    known, whole = re.search(r"(\d+) of (\d+) subjects", text).groups()
    assert int(known) == text.count("- [x]")
    assert int(whole) == text.count("- [")
    assert ": \n" not in text


def test_a_file_of_another_origin_is_not_replaced(tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "student", ALONE)
    (tmp_path / "report.csv").write_text("my own numbers\n")
    with pytest.raises(PreceptorError, match=r"report\.csv: exists"):
        write_report([path], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
    (tmp_path / "report.csv").unlink()
    for _ in range(2):
        write_report([path], tmp_path / "report.html")
