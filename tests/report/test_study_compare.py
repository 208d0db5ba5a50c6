"""Rows of a study against its baseline: what is paired, what can be tested, and what is then said."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from fake_study import SMALL, write_fake_study
from page import Page
from preceptor.evaluation.statistics import corrected_t_test
from preceptor.report.study_compare import BETTER, SAME, UNTESTED, WORSE, compare
from preceptor.report.study_report import write_study_report
from preceptor.report.study_results import read_study
from preceptor.report.study_text import findings, warnings


def test_an_interval_excludes_zero_exactly_when_the_corrected_p_is_significant(tmp_path: Path) -> None:
    study = replace(SMALL, folds=(0, 1, 2, 3, 4), images=1000, epochs=1)
    result = compare(read_study(write_fake_study(tmp_path / "s", study)), samples=50)
    tested = [item for versus in result.versus.values() for item in versus if item.adjusted is not None]
    assert {item.verdict for item in tested} >= {BETTER, SAME}
    for item in tested:
        assert (item.test.low > 0 or item.test.high < 0) == (item.adjusted < 0.05), item
    assert all(item.level > 0.95 for item in tested), "five methods"


def test_a_large_difference_is_found_and_a_small_one_is_not(tmp_path: Path) -> None:
    rows = ("ResNet50", "Student alone", "RKD")
    study = replace(SMALL, rows=rows, folds=(0, 1, 2, 3, 4), images=1000, epochs=1)
    result = compare(read_study(write_fake_study(tmp_path / "s", study)), samples=200)
    verdicts = {versu.line.row.name: versu.verdict for versu in result.versus["balanced_accuracy"]}
    assert verdicts == {"ResNet50": BETTER, "RKD": SAME}
    text = " ".join(findings(result))
    for metric in ("BACC", "ACC"):  # the main one and another
        assert re.search(rf"In {metric} ResNet50 \(\+0\.\d+\) is better than Student alone\.", text), text
    assert re.search(r"In BACC no difference to Student alone is shown for RKD", text), text
    lower = write_fake_study(tmp_path / "t", replace(study, rows=("Student alone", "ResNet50")))
    assert compare(read_study(lower), samples=50).versus["accuracy"][0].verdict == WORSE


def test_seeds_of_a_fold_are_averaged_before_the_test(tmp_path: Path) -> None:
    rows = ("ResNet50", "Student alone", "KD")
    lacking = (("KD", 1, 1), ("Student alone", 2, 0))
    study = replace(SMALL, rows=rows, seeds=(0, 1), epochs=1, pending=lacking)
    result = compare(read_study(write_fake_study(tmp_path / "s", study)), samples=50)
    resnet, kd = result.versus["accuracy"]
    values, base = kd.line.values("accuracy"), kd.baseline.values("accuracy")
    gap = {key: values[key] - base[key] for key in ((0, 0), (0, 1), (1, 0), (2, 1))}
    share = float(np.mean([kd.line.runs[key].test_share for key in gap]))
    test = corrected_t_test([(gap[0, 0] + gap[0, 1]) / 2, gap[1, 0], gap[2, 1]], share)
    assert kd.test == test.at_level(kd.level)
    assert (resnet.test.folds, kd.test.folds) == (3, 3)
    write_study_report(tmp_path / "s")
    table = pd.read_csv(tmp_path / "s/table.csv").set_index(["row", "metric"])
    higher = sum(value > 0 for value in ((gap[0, 0] + gap[0, 1]) / 2, gap[1, 0], gap[2, 1]))
    assert list(table.loc[("KD", "accuracy"), ["cells", "folds", "folds_higher"]]) == [5, 3, higher]
    assert f"higher in {resnet.folds_higher} folds" in Page((tmp_path / "s/report.html").read_text()).text


def test_seeds_of_one_fold_are_no_test(tmp_path: Path) -> None:
    study = replace(SMALL, folds=(1,), seeds=(0, 1, 2), rows=("ResNet50", "Student alone"), epochs=1)
    folder = write_fake_study(tmp_path / "s", study)
    comparison = compare(read_study(folder), samples=50).versus["balanced_accuracy"][0]
    assert (comparison.verdict, comparison.test.p) == (UNTESTED, None)
    assert comparison.pooled is not None  # other lesions, which is another question
    write_study_report(folder)
    text = Page((folder / "report.html").read_text()).text
    assert "not testable: one fold in common; its 3 seeds share their images" in text
    assert "There is one fold, so no difference can be tested" in text
    assert pd.read_csv(folder / "table.csv")["std"].notna().all()


def test_rows_of_different_splits_are_no_pairs(tmp_path: Path) -> None:
    rows = ("ResNet50", "Student alone", "KD")
    folder = write_fake_study(tmp_path / "s", replace(SMALL, rows=rows, folds=(0, 1), epochs=1))
    path = folder / "cells/kd-fold1-seed0/environment.json"
    path.write_text(path.read_text().replace("split-1-", "split-7-"))
    result = compare(read_study(folder), samples=50)
    resnet, kd = result.versus["accuracy"]
    assert (kd.verdict, kd.test.mean, kd.pooled) == (UNTESTED, None, None)
    assert kd.words == "not testable: different splits in 1 of 2 common cells"
    assert resnet.test.p is not None
    assert "Different splits" in dict(warnings(result))
    for item in (folder / "cells").glob("resnet50-*/environment.json"):
        item.write_text(item.read_text().replace("split-", "other-"))
    write_study_report(folder)
    text = Page((folder / "report.html").read_text()).text
    assert "No row can be compared with Student alone yet. Not testable: ResNet50 (different splits in 2 of 2" in text


def test_one_cell_is_not_testable(tmp_path: Path) -> None:
    folder = write_fake_study(tmp_path / "s", replace(SMALL, folds=(0,), rows=("ResNet50", "Student alone", "KD")))
    result = compare(read_study(folder), samples=50)
    assert {versu.verdict for versu in result.versus["accuracy"]} == {UNTESTED}
    write_study_report(folder)
    text = Page((folder / "report.html").read_text()).text
    assert "not testable: one fold in common" in text
    assert "There is one fold" in text
    assert "Not testable: ResNet50 and KD (one fold in common)." in text
