"""The errors that networks are surest of, as pictures with Grad-CAM: kept by a run, shown by its report."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import preceptor
from conftest import TINY
from preceptor.evaluation.array_files import ERRORS
from preceptor.evaluation.sure_errors import KEPT, surest
from preceptor.report.entries import entries_of, load_runs
from preceptor.report.network_predictions import predictions_of
from preceptor.report.surest_errors import surest_errors
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError

SMALL = {
    **TINY,
    "image_size": 64,
    "epochs": 1,
    "networks.student.backbone": "test_resnet",
    "networks.student.pretrained": "none",
}


@pytest.fixture(scope="module")
def run(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("runs") / "student"
    preceptor.train("student", SMALL, data="phantom", root=phantom_root, out=path, progress=False)
    return Run(path)


def test_a_run_keeps_its_surest_errors(run: Run) -> None:
    table = run.predictions.query("part == 'test'")
    expected = surest(table, run.metrics.classes)
    with np.load(run.path / ERRORS) as kept:
        assert kept["ids"].tolist() == expected["id"].tolist()
        assert len(kept["ids"]) == min(KEPT, int((table["target"] != table["predicted"]).sum())) > 0
        assert kept["maps"].shape[1:] == (16, 16)
        assert kept["maps"].max() == 255
        assert set(map(tuple, kept["cells"].tolist())) == {(2, 2)}
    sure = expected[[f"p_{name}" for name in run.metrics.classes]].max(axis=1)
    assert sure.is_monotonic_decreasing


def test_the_report_shows_image_and_map(run: Run) -> None:
    networks = predictions_of(entries_of(load_runs([run])))
    ((_, _, shown),) = surest_errors(networks)
    assert shown[0].picture
    assert shown[0].map != shown[0].picture
    catalog = run.catalog()
    row = catalog.table.index[catalog.table["id"] == shown[0].id][0]
    original = Image.open(catalog.path(row)).convert("RGB").resize((96, 96))
    picture = Image.open(io.BytesIO(base64.b64decode(shown[0].picture)))
    assert np.abs(np.asarray(picture, float) - np.asarray(original, float)).mean() < 8  # the same image, twice a JPEG
    assert f'alt="Test image {shown[0].id}"' in run.report.read_text(encoding="utf-8")
    assert "the map of the last stage has 2 × 2 cells: it shows a direction" in run.report.read_text(encoding="utf-8")
    ((_, _, bare),) = surest_errors(networks, pictures=False)
    assert bare[0].picture == ""


def test_a_map_of_one_cell_is_not_shown_and_it_is_said(phantom_root: Path, tmp_path: Path) -> None:
    """It would paint each image in one colour."""
    settings = {**SMALL, "image_size": 32}
    run = preceptor.train("student", settings, data="phantom", root=phantom_root, out=tmp_path / "run", progress=False)
    with np.load(run.path / ERRORS) as kept:
        assert set(map(tuple, kept["cells"].tolist())) == {(1, 1)}
        assert not kept["maps"].any()
    page = run.report.read_text(encoding="utf-8")
    assert 'alt="Test image' in page
    assert "No Grad-CAM: the map of the last stage has 1 × 1 cell, too few to show a place; networks trained" in page
    assert "Beside an image its Grad-CAM" not in page


def test_errors_of_runs_of_before_are_shown_without_a_word_on_cells(run: Run) -> None:
    before = (run.path / ERRORS).read_bytes()
    with np.load(run.path / ERRORS) as kept:
        arrays = {name: kept[name] for name in kept.files if name != "cells"}
    np.savez_compressed(run.path / ERRORS, **arrays)
    ((_, _, shown),) = surest_errors(predictions_of(entries_of(load_runs([run]))))
    (run.path / ERRORS).write_bytes(before)
    assert (shown[0].map != "", shown[0].grain) == (True, "")


def test_a_file_of_another_run_is_refused(run: Run, tmp_path: Path) -> None:
    content = (run.path / ERRORS).read_bytes()
    (run.path / ERRORS).write_bytes(content[: len(content) // 2])
    with pytest.raises(PreceptorError, match=r"errors.npz cannot be read"):
        surest_errors(predictions_of(entries_of(load_runs([run]))))
    (run.path / ERRORS).write_bytes(content)
