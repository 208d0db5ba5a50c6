"""The report: what it says of runs, what it refuses, and that it needs nothing but itself."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from fake_run import ALONE, CLASSES, Taught, write_fake_run, write_two
from page import Page
from preceptor.data.class_names import full_names
from preceptor.report import run_text
from preceptor.report.entries import LabelledRun, entries_of, load_run, load_runs
from preceptor.report.run_report import render, write_report


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    noted = {"notes": ("The images are downscaled to 96 px.",), "excluded": ("ISIC_0099991", "ISIC_0099992")}
    return write_two(tmp_path_factory.mktemp("runs"), **noted)


@pytest.fixture(scope="module")
def page(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("out") / "deep" / "report.html"
    assert write_report(runs, out) == out
    return out.read_text(encoding="utf-8")


def test_page_needs_nothing_from_elsewhere(page: str) -> None:
    attributes = Page(page).attributes
    assert not [tag for tag, _, _ in attributes if tag in {"script", "link", "iframe", "object", "img"}]
    assert all(value.startswith("#") for _, name, value in attributes if name in {"href", "xlink:href"})
    assert "://" not in page
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}


def test_page_is_well_formed(page: str) -> None:
    parsed = Page(page)
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    referred = {value[1:] for _, name, value in parsed.attributes if name in {"href", "xlink:href"}}
    referred |= set(re.findall(r"url\(#([\w-]+)\)", page))
    assert referred <= set(parsed.ids)


def test_figures_follow_the_colours_of_the_page(page: str) -> None:
    assert "#fe00" not in page  # no stand-in is left
    assert page.count("<svg") == 3 + 3 + 1 + 3 + 2 + 3 + 4  # ROC, decision, risk, reliability, cost, training curves
    used = set(re.findall(r"var\((--\w+)\)", page))
    assert used <= set(re.findall(r"(--\w+):", page))


def test_page_says_what_ran(page: str, runs: list[Path]) -> None:
    text = Page(page).text
    for path in runs:
        run = load_run(path)
        assert run.environment.command in text
        assert run.split_hash in text
        for result in run.metrics.networks.values():
            assert result.validation
            for name in ("balanced_accuracy", "macro_auc", "calibration_error"):
                assert f"{result.test[name]:.3f}" in text
                assert f"{result.validation[name]:.3f}" in text
            for recall in result.test["per_class_recall"].values():
                assert f"{recall:.3f}" in text
    assert "Hinton et al. 2015" in text
    assert "fold 0 of 5" in text
    assert "9d8c1f0b6a3e" in text
    assert "Not for diagnostic use." in text
    assert "start: run runs/teacher" in text


def test_notes_and_excluded_images_stand_before_the_results(page: str) -> None:
    before = page[: page.index('id="results"')]
    assert "downscaled to 96 px" in before
    assert "2 images were left out by --exclude: ISIC_0099991, ISIC_0099992" in before
    assert "cut at half" not in before


def test_masks_that_were_cut_are_noted(spoilt: Path, tmp_path: Path) -> None:
    metrics = json.loads((spoilt / "metrics.json").read_text())
    (spoilt / "metrics.json").write_text(json.dumps(metrics | {"masks_cut_at_half": 12}))
    page = write_report([spoilt], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "12 masks have grey values at the border" in page[: page.index('id="results"')]


def test_same_runs_give_the_same_page(page: str, runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    assert write_report(runs, tmp_path / "again" / "report.html").read_text(encoding="utf-8") == page


def test_paper_protocol_is_loud(tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "paper", replace(ALONE, protocol="paper", epochs=12))
    text = Page(write_report([path], tmp_path / "r.html").read_text()).text
    assert "Optimistic results: protocol “paper”" in text
    assert "the mean of the last 10 on the test part." in text
    assert "by which the epoch was chosen" not in text  # there is no validation part
    assert "resamplings" not in text  # a mean over epochs has no predictions to resample
    assert "test part" in text


def test_runs_of_a_quick_study_are_no_evidence(tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "quick", ALONE)
    environment = json.loads((path / "environment.json").read_text())
    (path / "environment.json").write_text(json.dumps({**environment, "marked": "quick: not evidence"}))
    text = render(load_runs([path]))
    assert "(quick: not evidence)" in text[: text.index("</title>")]
    assert "<h2>Quick: not evidence</h2>" in text
    assert "not evidence" not in render(load_runs([write_fake_run(tmp_path / "whole", ALONE)]))


def test_grouped_protocol_is_not(page: str) -> None:
    assert "Optimistic" not in page


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    hostile = ("<script>alert(1)</script>", "$\\frac{1}{2}$", 'a"&b')
    run = replace(ALONE, classes=hostile, notes=("</style><script>", "<b>net"))
    text = write_report([write_fake_run(tmp_path / "<i>run", run)], tmp_path / "r.html").read_text()
    parsed = Page(text)
    assert parsed.open == []
    assert "<script" not in text
    assert "<b>net" not in text
    assert hostile[0] in parsed.text
    assert hostile[1] in parsed.text


def test_a_short_run_on_few_images_is_shown_too(tmp_path: Path) -> None:
    run = replace(ALONE, classes=CLASSES, images=60, epochs=1)
    path = write_fake_run(tmp_path / "short", run)
    absent = load_run(path).metrics.networks["student"].test["absent_classes"]
    assert absent  # else this test would show nothing
    text = Page(write_report([path], tmp_path / "r.html").read_text()).text
    assert f"no test image of {', '.join(full_names('ham10000', absent))}" in text
    assert "no case" in text


def test_costs_measured_differently_are_told_apart(runs: list[Path], tmp_path: Path) -> None:
    copy = shutil.copytree(runs[0], tmp_path / "gpu")
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics["networks"]["student"]["cost"]["latency_ms"]["device"] = "H100"
    (copy / "metrics.json").write_text(json.dumps(metrics))
    conditions = run_text.cost_conditions(entries_of(load_runs([*runs, copy])))
    assert conditions[0].endswith("(student, kd · teacher and kd · student).")
    assert "H100" in conditions[1]
    assert conditions[1].endswith("(gpu · student).")


def test_a_latency_of_a_busy_machine_is_marked(runs: list[Path], tmp_path: Path) -> None:
    pages = []
    for load in (0.4, 7.0):
        copy = shutil.copytree(runs[0], tmp_path / f"load-{load}")
        metrics = json.loads((copy / "metrics.json").read_text())
        latency = metrics["networks"]["student"]["cost"]["latency_ms"] | {"device": "cpu", "load": load, "cores": 2}
        metrics["networks"]["student"]["cost"]["latency_ms"] = latency
        (copy / "metrics.json").write_text(json.dumps(metrics))
        pages.append(Page(render(load_runs([copy]))).text)
    assert "busy machine" not in pages[0]
    assert "busy machine" in pages[1]
    assert "Busy machine: other programs took CPU time" in pages[1]


def test_of_many_excluded_images_a_few_are_named_and_the_rest_is_folded(tmp_path: Path) -> None:
    excluded = tuple(f"ISIC_{index:07d}" for index in range(1200))
    text = render(load_runs([write_fake_run(tmp_path / "run", replace(ALONE, excluded=excluded))]))
    shown, _, folded = text.partition("<details><summary>and 1\u202f195 more</summary>")
    assert all(name in shown for name in excluded[:5])
    assert not any(name in shown for name in excluded[5:])
    assert excluded[-1] in folded


def test_a_network_that_learnt_nothing_is_named_before_the_results(tmp_path: Path) -> None:
    constant = write_fake_run(tmp_path / "constant", replace(ALONE, images=700))
    table = pd.read_csv(constant / "predictions.csv", dtype=str).assign(predicted="nv")
    table.to_csv(constant / "predictions.csv", index=False)
    chance = write_fake_run(tmp_path / "chance", replace(ALONE, images=700, networks={"student": Taught(skill=0.0)}))
    good = write_fake_run(tmp_path / "good", replace(ALONE, images=700))
    before = [Page(text[: text.index('id="results"')]).text for text in map(render, map(load_one, (constant, chance)))]
    assert "student predicts nv for every test image." in before[0]
    assert "student is not shown to be better than chance: balanced accuracy" in before[1]
    assert "Networks that learnt nothing" not in render(load_one(good))


def test_many_networks_that_learnt_nothing_are_listed_by_kind(tmp_path: Path) -> None:
    runs = []
    for name in ("first", "second", "third", "fourth"):
        run = write_fake_run(tmp_path / name, replace(ALONE, images=700, networks={"student": Taught(skill=0.0)}))
        if name in ("first", "second"):
            table = pd.read_csv(run / "predictions.csv", dtype=str).assign(predicted="nv")
            table.to_csv(run / "predictions.csv", index=False)
        runs.append(run)
    text = render(load_runs(runs))
    before = Page(text[: text.index('id="results"')]).text
    assert before.count("for every test image") == before.count("better than chance") == 1
    assert "first · student, second · student predict nv for every test image." in before
    assert re.search(
        r"a balanced accuracy of 0\.333: third · student 0\.\d+ \(95 % CI [^)]*\); fourth · student 0\.\d+", before
    )


def load_one(path: Path) -> list[LabelledRun]:
    return load_runs([path])


def test_a_run_of_one_epoch_has_no_charts_of_it(tmp_path: Path) -> None:
    text = render(load_runs([write_fake_run(tmp_path / "short", replace(ALONE, epochs=1))]))
    training = text[text.index('id="training"') : text.index('id="data"')]
    assert "<svg" not in training
    assert "One epoch makes no curve" in training


@pytest.fixture
def spoilt(runs: list[Path], tmp_path: Path) -> Path:
    """A copy of a finished run, for the test to damage."""
    return shutil.copytree(runs[0], tmp_path / "run")


def test_tables_name_classes_in_full_words_beside_their_codes(tmp_path: Path) -> None:
    page = Page(write_report(write_two(tmp_path), tmp_path / "r.html").read_text())
    assert re.search(r"melanoma mel \d+ images", page.text), "recall"
    assert re.search(r"melanoma mel \d+ of \d+ groups", page.text), "the table of the parts"
    assert page.text.count("melanocytic nevus nv") >= 4, "recall, both confusion matrices, and the parts"
