"""What a clinical reviewer asks of a run report: thresholds from validation, subgroups, uncertainty, participants."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score

from fake_run import ALONE, TAUGHT, write_fake_run
from page import Page
from preceptor.evaluation.conformal import adaptive_sets, adaptive_threshold, set_quality
from preceptor.evaluation.operating_points import threshold_at_specificity
from preceptor.report.calibration import calibration_rows
from preceptor.report.entries import entries_of, load_runs
from preceptor.report.network_predictions import NetworkPredictions, predictions_of
from preceptor.report.operating_points import positive_classes
from preceptor.report.participants import demographics, flow
from preceptor.report.run_report import write_report
from preceptor.report.subgroups import attribute_sections
from preceptor.report.surest_errors import surest_errors
from preceptor.report.uncertainty import adaptive, sets_rows

SIZE = {"images": 500, "classes": ("bkl", "mel", "nv")}


def with_attributes(path: Path) -> Path:
    """Give every lesion a sex, an age and a site; some are not recorded, one site is rare."""
    split = pd.read_csv(path / "split.csv", dtype=str)
    draw = np.random.default_rng(0)
    lesion = split["group"].astype("category").cat.codes.to_numpy()
    number = lesion.max() + 1
    split["sex"] = draw.choice(["female", "male", ""], number, p=[0.45, 0.45, 0.1])[lesion]
    split["age"] = draw.integers(20, 85, number)[lesion].astype(str)
    split["site"] = draw.choice(["back", "scalp"], number, p=[0.93, 0.07])[lesion]
    split["source"] = [f"scanner {index}" for index in lesion]
    split.to_csv(path / "split.csv", index=False)
    return path


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("runs")
    return [
        with_attributes(write_fake_run(base / "student", replace(ALONE, **SIZE))),
        with_attributes(write_fake_run(base / "kd", replace(TAUGHT, **SIZE, excluded=("ISIC_1",)))),
    ]


@pytest.fixture(scope="module")
def networks(paths: list[Path]) -> list[NetworkPredictions]:
    return predictions_of(entries_of(load_runs(paths)))


@pytest.fixture(scope="module")
def page(paths: list[Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(paths, tmp_path_factory.mktemp("out") / "report.html").read_text(encoding="utf-8")


def test_thresholds_come_from_the_validation_part(networks: list[NetworkPredictions]) -> None:
    of_group, *of_classes = positive_classes(networks, {"malignant": ["mel", "bkl"]})
    assert [each.name for each in of_classes] == ["benign keratosis-like lesion", "melanoma", "melanocytic nevus"]
    assert of_group.members == ["melanoma", "benign keratosis-like lesion"]
    network, area, _, points = of_group.rows[2]
    validation, test = network.validation, network.test
    assert validation is not None
    threshold = threshold_at_specificity(validation.targets < 2, validation.probabilities[:, :2].sum(1), 0.9)
    assert points[0].threshold == threshold
    called = test.probabilities[:, :2].sum(1) >= threshold
    assert points[0].value.value == pytest.approx(called[test.targets < 2].mean())
    assert points[0].reached.value == pytest.approx((~called[test.targets == 2]).mean())
    assert area.value == pytest.approx(roc_auc_score(test.targets < 2, test.probabilities[:, :2].sum(1)))
    for estimate in (area, points[0].value):
        assert estimate.interval is not None
        assert estimate.interval.low < estimate.value < estimate.interval.high


def test_temperature_comes_from_the_validation_part(networks: list[NetworkPredictions]) -> None:
    plain, scaled = calibration_rows(networks[2:])
    assert (plain.scaled, scaled.scaled) == (False, True)
    network = networks[2]
    assert network.validation is not None
    other = NetworkPredictions(network.entry, network.validation, network.validation, network.resampling)
    assert other.temperature == network.temperature
    expected = brier_score_loss(network.test.targets, network.calibrated, labels=range(3), scale_by_half=False)
    assert scaled.brier.value == pytest.approx(expected)
    assert scaled.nll.value is not None
    assert plain.slope.interval is not None


def test_a_temperature_that_the_validation_part_does_not_determine_is_not_applied(
    networks: list[NetworkPredictions],
) -> None:
    """Of logits that tell nothing the fit ends at its bound, and an export keeps 1 there: so do reports."""
    network = networks[2]
    assert network.validation is not None
    rolled = replace(network.validation, probabilities=np.roll(network.validation.probabilities, 1, axis=1))
    blind = replace(network, validation=rolled)
    assert blind.temperature is None
    assert blind.calibrated is network.test.probabilities
    assert [row.scaled for row in calibration_rows([blind])] == [False]


def test_subgroups_are_the_images_of_one_value(networks: list[NetworkPredictions]) -> None:
    sections = {section.name: section for section in attribute_sections(networks)}
    assert list(sections) == ["sex", "age", "site"], "an attribute of many values names images"
    values = {value.name: value for value in sections["sex"].values}
    female = values["female"]
    network = networks[2]
    sex = network.entry.run.split.set_index("id")["sex"].reindex(network.test.ids).to_numpy()
    assert female.images == (sex == "female").sum()
    assert sections["sex"].missing == (sex == "").sum() > 0
    predicted = network.test.probabilities.argmax(1)
    recalls = [
        balanced_accuracy_score(network.test.targets[sex == name], predicted[sex == name])
        for name in ("female", "male")
    ]
    row = female.rows[2]
    assert row.values[0].value == pytest.approx(recalls[0])
    assert row.gaps[0].value == pytest.approx(recalls[0] - recalls[1])
    assert row.changes[0] is not None
    assert female.rows[0].changes == female.rows[1].changes == [None, None], (
        "of a student without teacher, of a teacher"
    )
    teacher_gap = female.rows[1].gaps[0].value
    assert row.changes[0][0] == pytest.approx(abs(recalls[0] - recalls[1]) - abs(teacher_gap))
    assert {value.name: bool(value.rows) for value in sections["site"].values} == {"back": True, "scalp": False}


def test_sets_reach_about_the_promised_coverage(networks: list[NetworkPredictions]) -> None:
    for row in sets_rows(networks):
        assert row.coverage.value == pytest.approx(0.9, abs=0.09)
        assert 0.9 <= row.size.value <= 3, "a set may be empty"
        cases = np.bincount(row.network.test.targets)
        assert np.average(row.by_class, weights=cases) == pytest.approx(row.coverage.value)


def test_adaptive_sets_are_chosen_on_the_validation_part(networks: list[NetworkPredictions]) -> None:
    for row in sets_rows(networks, adaptive):
        validation, test = row.network.validation, row.network.test
        least = adaptive_threshold(validation.targets, validation.probabilities, 0.1)
        quality = set_quality(test.targets, adaptive_sets(test.probabilities, least))
        assert (row.coverage.value, row.size.value) == pytest.approx((quality.coverage, quality.size))
        assert row.by_class == pytest.approx(quality.coverage_by_class.tolist())
        assert row.coverage.interval.low < row.coverage.value <= row.coverage.interval.high


def test_the_surest_errors_are_errors_of_different_lesions(networks: list[NetworkPredictions]) -> None:
    for network, number, rows in surest_errors(networks):
        wrong = network.test.probabilities.argmax(1) != network.test.targets
        assert number == wrong.sum()
        assert rows[0].confidence == pytest.approx(network.test.probabilities[wrong].max())
        groups = network.entry.run.split.set_index("id")["group"].reindex([row.id for row in rows])
        assert groups.is_unique
        assert all(row.target != row.predicted and 1 <= row.shared <= 3 for row in rows)


def test_flow_and_attributes_add_up(networks: list[NetworkPredictions]) -> None:
    run = networks[2].entry.run
    shown = flow(run)
    assert (shown.images, shown.excluded) == (501, 1)
    assert [box.name for box in shown.parts] == ["train", "validation", "test"]
    assert sum(box.images for box in shown.parts) == shown.used.images == 500
    table = demographics(run)
    assert table is not None
    rows = {name: cells for name, _, cells in table.rows}
    test = run.split[run.split["part"] == "test"]
    known = test[test["sex"] != ""]
    share = (known["sex"] == "female").mean()
    assert rows["female"][2].startswith(f"{(test['sex'] == 'female').sum()} ({100 * share:.1f}")
    assert rows["age, median (quartiles)"][2].startswith(f"{test['age'].astype(float).median():.4g} (")
    assert rows["source, different values"][2] == str(test["group"].nunique())


def test_the_page_holds_every_section(page: str) -> None:
    parsed = Page(page)
    assert parsed.open == []
    for section in ("operating-points", "calibration", "uncertainty", "subgroups", "failures"):
        assert f'id="{section}"' in page
        assert f'href="#{section}"' in page
    for words in ("Research only", "melanocytic nevus", "too few (under 20 images)", "after temperature scaling"):
        assert words in parsed.text
    assert "nan" not in parsed.text.lower().split()


def test_the_paper_protocol_chooses_nothing(tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "run", replace(ALONE, protocol="paper"))
    networks = predictions_of(entries_of(load_runs([path])))
    assert positive_classes(networks, {}) == sets_rows(networks) == []
    assert [row.scaled for row in calibration_rows(networks)] == [False]
    page = write_report([path], tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="operating-points"' not in page
    assert 'id="subgroups"' not in page
