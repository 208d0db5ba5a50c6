"""What a reviewer asks of a study: thresholds and temperatures of each cell, pooled; students beside their teachers."""

from __future__ import annotations

import gc
import shutil
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from fake_study import FakeStudy, write_fake_study
from page import Page
from preceptor.evaluation.calibration import fit_temperature, log_probabilities, rescaled
from preceptor.evaluation.conformal import adaptive_sets, adaptive_threshold, conformal_thresholds, prediction_sets
from preceptor.evaluation.operating_points import threshold_at_specificity
from preceptor.evaluation.resampling import Resampling
from preceptor.report.study_cells import class_cells
from preceptor.report.study_clinical import clinical_sections, study_class_groups
from preceptor.report.study_pooled import pooled_results
from preceptor.report.study_report import write_study_report
from preceptor.report.study_results import HELD, StudyResults, read_study
from preceptor.runs.directory import Run

ROWS = ("ResNet50", "Student alone", "KD")
CLASSES = ("bkl", "mel", "nv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods on three folds and two seeds, with the sex of each lesion and a group of classes in the plan."""
    folder = tmp_path_factory.mktemp("studies") / "study"
    write_fake_study(folder, FakeStudy(rows=ROWS, seeds=(0, 1), images=400, classes=CLASSES, reader="ham10000"))
    for path in folder.glob("cells/*/split.csv"):
        split = pd.read_csv(path, dtype=str)
        lesion = split["group"].astype("category").cat.codes.to_numpy()
        split["sex"] = np.random.default_rng(0).choice(["female", "male"], lesion.max() + 1)[lesion]
        split.to_csv(path, index=False)
    plan = yaml.safe_load((folder / "study.yaml").read_text())
    plan["rows"][0]["set"] = {"class_groups": {"not a nevus": ["bkl", "mel"]}}
    (folder / "study.yaml").write_text(yaml.safe_dump(plan, sort_keys=False, allow_unicode=True))
    return folder


@pytest.fixture(scope="module")
def study(folder: Path) -> StudyResults:
    return read_study(folder)


@pytest.fixture(scope="module")
def sections(study: StudyResults) -> dict:
    groups = np.concatenate([run.tested["group"].unique() for run in study.runs])
    return clinical_sections(study, Resampling(groups, samples=50))


def rows_of(study: StudyResults, row: str) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Validation and test rows of the student in each cell of a row of the plan."""
    line = next(line for line in study.lines if line.label == row)
    tables = [run.predictions[run.predictions["network"] == line.network] for run in line.runs.values()]
    return [(table[table["part"] == "validation"], table[table["part"] == "test"]) for table in tables]


def test_predictions_of_a_few_runs_are_in_memory_at_a_time(folder: Path) -> None:
    study = read_study(folder)
    tables = [weakref.ref(run.predictions) for run in study.runs]
    gc.collect()
    alive = [table() is not None for table in tables]
    assert len(alive) > HELD
    assert sum(alive) == HELD
    assert alive[-1]
    assert study.runs[0].predictions.equals(Run(study.runs[0].path).predictions)


def test_no_pooled_table_of_a_line_is_kept(study: StudyResults) -> None:
    """What is shown of the predictions of all folds and seeds is made line by line."""
    before = _tables_in_memory()
    shown = pooled_results(study, {})
    assert len(shown.confusions) == len(shown.reliability) == len(shown.learnt) == len(study.lines)
    assert _tables_in_memory() == before


def test_of_a_run_neither_predictions_nor_history_are_kept(study: StudyResults) -> None:
    assert not any({"predictions", "history"} & vars(run).keys() for run in study.runs)
    assert study.runs[0].history.equals(Run(study.runs[0].path).history)


def test_the_seeds_of_a_fold_hold_ids_and_groups_once(study: StudyResults) -> None:
    line = study.lines[0]
    groups = np.concatenate([run.tested_groups for run in study.runs])
    cells = class_cells(line, line.network, Resampling(groups, samples=2)).cells
    one, other = cells[0, 0].test, cells[0, 1].test
    assert one.ids is other.ids
    assert one.groups is other.groups
    assert one.targets is other.targets
    assert not np.array_equal(one.probabilities, other.probabilities)
    assert not np.array_equal(one.ids, cells[1, 0].test.ids)


def _tables_in_memory() -> int:
    gc.collect()
    return sum(type(each) is pd.DataFrame and "predicted" in each for each in gc.get_objects())


def test_a_group_may_have_the_name_of_a_class(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "study")
    plan = yaml.safe_load((folder / "study.yaml").read_text())
    plan["rows"][0]["set"] = {"class_groups": {"melanoma": ["bkl", "mel"]}}
    (tmp_path / "study" / "study.yaml").write_text(yaml.safe_dump(plan, sort_keys=False, allow_unicode=True))
    study = read_study(tmp_path / "study")
    groups = np.concatenate([run.tested_groups for run in study.runs])
    group, *_, melanoma, _ = clinical_sections(study, Resampling(groups, samples=2))["positives"]
    assert group.name == melanoma.name == "melanoma"
    assert len(group.members) == 2
    assert group.test[0] > melanoma.test[0]


def test_each_cells_threshold_is_applied_to_its_own_test_part(study: StudyResults, sections: dict) -> None:
    melanoma = next(positive for positive in sections["positives"] if positive.name == "melanoma")
    line, _, _, points = melanoma.rows[2]
    assert line.entry.label == "KD"
    hits, positives = {0: 0, 1: 0}, {0: 0, 1: 0}
    runs = next(line for line in study.lines if line.label == "KD").runs
    for (_, seed), (validation, test) in zip(runs, rows_of(study, "KD"), strict=True):
        threshold = threshold_at_specificity(validation["target"] == "mel", validation["p_mel"], 0.9)
        truth = test["target"] == "mel"
        hits[seed] += int((truth & (test["p_mel"] >= threshold)).sum())
        positives[seed] += int(truth.sum())
    expected = np.mean([hits[seed] / positives[seed] for seed in (0, 1)])
    assert points[0].value.value == pytest.approx(expected)


def test_areas_rank_the_images_of_a_cell_alone(study: StudyResults, sections: dict) -> None:
    """Each cell has a network of its own, which may give higher scores throughout."""
    melanoma = next(positive for positive in sections["positives"] if positive.name == "melanoma")
    _, area, _, _ = melanoma.rows[2]
    tested = [test for _, test in rows_of(study, "KD")]
    areas = [roc_auc_score(test["target"] == "mel", test["p_mel"]) for test in tested]
    whole = pd.concat(tested)
    assert area.value == pytest.approx(np.mean(areas))
    assert area.value != pytest.approx(roc_auc_score(whole["target"] == "mel", whole["p_mel"]))


def test_each_cell_has_its_own_temperature(study: StudyResults, sections: dict) -> None:
    row = sections["calibrations"][0]
    losses, images, temperatures = {0: 0.0, 1: 0.0}, {0: 0, 1: 0}, []
    runs = study.lines[0].runs
    columns = [f"p_{name}" for name in CLASSES]
    for (_, seed), (validation, test) in zip(runs, rows_of(study, "ResNet50"), strict=True):
        index = [table["target"].map(CLASSES.index).to_numpy() for table in (validation, test)]
        temperature = fit_temperature(log_probabilities(validation[columns].to_numpy()), index[0])
        scores = rescaled(test[columns].to_numpy(), temperature)
        losses[seed] -= float(np.log(scores[np.arange(len(test)), index[1]]).sum())
        images[seed] += len(test)
        temperatures.append(temperature)
    assert row.after[1].value == pytest.approx(np.mean([losses[seed] / images[seed] for seed in (0, 1)]))
    assert row.temperatures == pytest.approx((min(temperatures), max(temperatures)))


def test_conformal_sets_are_chosen_in_each_cell(study: StudyResults, sections: dict) -> None:
    columns = [f"p_{name}" for name in CLASSES]
    held, adapted = [], []
    for validation, test in rows_of(study, "KD"):
        index = [table["target"].map(CLASSES.index).to_numpy() for table in (validation, test)]
        least = conformal_thresholds(index[0], validation[columns].to_numpy(), 0.1)
        held += list(prediction_sets(test[columns].to_numpy(), least)[np.arange(len(test)), index[1]])
        threshold = adaptive_threshold(index[0], validation[columns].to_numpy(), 0.1)
        adapted += list(adaptive_sets(test[columns].to_numpy(), threshold).sum(axis=1))
    assert sections["sets"][2].coverage.value == pytest.approx(np.mean(held))  # folds of one size in both seeds
    assert sections["adaptive_sets"][2].size.value == pytest.approx(np.mean(adapted))


def test_the_plans_groups_of_classes_come_first(study: StudyResults, sections: dict) -> None:
    assert study_class_groups(study) == {"not a nevus": ["bkl", "mel"]}
    assert sections["positives"][0].name == "not a nevus"
    assert sections["positives"][0].members == ["benign keratosis-like lesion", "melanoma"]


def test_subgroups_stand_beside_those_of_the_teacher(study: StudyResults, sections: dict) -> None:
    (sex,) = sections["attributes"]
    assert [value.name for value in sex.values] == ["female", "male"]
    rows = sex.values[0].rows
    taught = [row for row in rows if row.network.entry.label == "KD"]
    assert taught[0].changes[0] is not None
    gap = taught[0].gaps[0].value
    assert gap == pytest.approx(-sex.values[1].rows[2].gaps[0].value)
    alone = next(row for row in rows if row.network.entry.label == "Student alone")
    assert alone.changes == [None, None]


def test_the_page_has_the_sections_and_names_the_files_beside_it(folder: Path) -> None:
    page = Page(write_study_report(folder).read_text(encoding="utf-8"))
    assert {"operating-points", "uncertainty", "subgroups", "calibration"} <= set(page.ids)
    assert not page.open
    words = " ".join(page.words)
    for name in ("report.md", "table.csv", "table.tex", "clinical.csv"):
        assert name in words
        assert (folder / name).is_file()
    table = pd.read_csv(folder / "clinical.csv")
    assert {"sensitivity at 90% specificity", "AURC", "coverage", "balanced_accuracy gap"} <= set(table["quantity"])
