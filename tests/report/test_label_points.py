"""Operating points of labels: thresholds from the validation part, each label where it is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from fake_labels import LABELS, study_with_labels, with_labels
from fake_run import FakeRun, write_fake_run
from fake_study import FakeStudy, write_fake_study
from page import Page
from preceptor.evaluation.calibration import fit_temperature
from preceptor.evaluation.operating_points import threshold_at_sensitivity, threshold_at_specificity
from preceptor.evaluation.resampling import shared_resampling
from preceptor.report.entries import entries_of, load_runs
from preceptor.report.label_predictions import label_networks, label_positives
from preceptor.report.run_report import write_report
from preceptor.report.study_report import write_study_report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "labels"
    return with_labels(write_fake_run(path, FakeRun(classes=("a", "b"), images=600)))


def rows_of(run: Path, label: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    table = pd.read_csv(run / "predictions.csv", dtype={"id": str}).query("part == @part and network == 'student'")
    known = table[f"t_{label}"].notna()
    return table.loc[known, f"t_{label}"].to_numpy(), table.loc[known, f"p_{label}"].to_numpy()


@pytest.mark.parametrize("place", [0, 1])
def test_thresholds_are_of_the_validation_part_and_rates_of_the_test_part(run: Path, place: int) -> None:
    label = LABELS[place]
    (validated, chosen), (tested, scores) = (rows_of(run, label, part) for part in ("validation", "test"))
    section = label_positives(entries_of(load_runs([run])))[place]
    assert section.name == label.replace("_", " ")
    assert (section.validation, section.test) == ([validated.sum()], [tested.sum()])
    _, area, _, points = section.rows[0]
    assert area.value == pytest.approx(roc_auc_score(tested, scores))
    threshold = threshold_at_specificity(validated, chosen, 0.9)
    assert points[0].threshold == threshold
    assert points[0].value.value == pytest.approx(recall_score(tested, scores >= threshold))
    assert points[0].reached.value == pytest.approx(recall_score(1 - tested, scores < threshold))
    assert points[3].threshold == threshold_at_sensitivity(validated, chosen, 0.95)
    assert points[0].value.interval.low < points[0].value.value < points[0].value.interval.high
    assert section.curve is not None


def test_all_labels_share_the_temperature_of_an_export(run: Path) -> None:
    """One temperature divides the logits of all labels, fitted on every label that is known."""
    known = [rows_of(run, label, "validation") for label in LABELS]
    truth, scores = (np.concatenate(columns) for columns in zip(*known, strict=True))
    logits = np.log(np.stack([1 - scores, scores], axis=1))
    entry = entries_of(load_runs([run]))[0]
    networks = label_networks(entry, LABELS, shared_resampling(np.array(["a"])))
    assert [network.temperature for network in networks if network] == pytest.approx(
        [fit_temperature(logits, truth.astype(int))] * 3
    )


def test_a_label_that_no_image_has_gets_no_threshold_and_no_curve(run: Path) -> None:
    section = label_positives(entries_of(load_runs([run])))[2]
    _, area, _, points = section.rows[0]
    assert area.value is section.curve is None
    assert {point.threshold for point in points} == {point.value.value for point in points} == {None}


def test_they_are_on_the_page_and_in_its_table(run: Path, tmp_path: Path) -> None:
    out = write_report([run], tmp_path / "report.html")
    text = Page(out.read_text(encoding="utf-8")).text
    assert "Each label, in the images in which it is known." in text
    assert "sensitivity at 90 % specificity" in text
    table = pd.read_csv(out.with_suffix(".csv"))
    row = table[(table["of"] == "lung mass") & (table["quantity"] == "threshold for 90% specificity")].iloc[0]
    assert row["value"] == threshold_at_specificity(*rows_of(run, "lung_mass", "validation"), 0.9)


def test_without_a_validation_part_there_are_none(tmp_path: Path) -> None:
    paper = with_labels(write_fake_run(tmp_path / "run", FakeRun(classes=("a", "b"), images=200, protocol="paper")))
    assert label_positives(entries_of(load_runs([paper]))) == []
    assert 'id="operating-points"' not in write_report([paper], tmp_path / "report.html").read_text()


def test_a_study_applies_each_cells_thresholds_to_its_own_test_part(tmp_path: Path) -> None:
    fake = FakeStudy(rows=("ResNet50", "Student alone"), folds=(0, 1), classes=("a", "b"), images=400)
    folder = study_with_labels(write_fake_study(tmp_path / "study", fake))
    page = write_study_report(folder)
    hits = positives = 0
    for cell in sorted(folder.glob("cells/student-alone*")):
        threshold = threshold_at_specificity(*rows_of(cell, "edema", "validation"), 0.9)
        truth, scores = rows_of(cell, "edema", "test")
        hits, positives = hits + int((scores[truth == 1] >= threshold).sum()), positives + int(truth.sum())
    table = pd.read_csv(folder / "clinical.csv")
    chosen = (table["network"] == "Student alone") & (table["of"] == "edema")
    row = table[chosen & (table["quantity"] == "sensitivity at 90% specificity")].iloc[0]
    assert row["value"] == pytest.approx(hits / positives)
    assert "Each label, in the images in which it is known." in Page(page.read_text(encoding="utf-8")).text
