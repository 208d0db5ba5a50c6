"""What a report counts and compares: labels, differences, intervals, tables, how numbers are written."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake_run import ALONE, TAUGHT, THREE, Taught, write_fake_run, write_two
from page import Page
from preceptor.evaluation.calibration import calibration_error
from preceptor.report import formatting as words
from preceptor.report import run_text
from preceptor.report.entries import entries_of, load_run, load_runs
from preceptor.report.figures import reliability_bins
from preceptor.report.run_report import write_report
from preceptor.report.tables import confusion_table, differences, split_table


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_two(tmp_path_factory.mktemp("runs"))


def test_one_run_labels_by_network_several_by_run(runs: list[Path]) -> None:
    assert [entry.label for entry in entries_of(load_runs(runs[1:]))] == ["teacher", "student"]
    labels = [entry.label for entry in entries_of(load_runs(runs))]
    assert labels == ["student", "kd · teacher", "kd · student"]


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = [write_fake_run(tmp_path / seed / "kd", ALONE) for seed in ("seed-0", "seed-1")]
    assert [run.label for run in load_runs(paths)] == ["seed-0/kd", "seed-1/kd"]


def test_differences_carry_their_sign(tmp_path: Path) -> None:
    weak = replace(TAUGHT, networks=TAUGHT.networks | {"student": Taught(skill=0.4)})
    paths = [
        write_fake_run(tmp_path / "student", ALONE),
        write_fake_run(tmp_path / "kd", TAUGHT),
        write_fake_run(tmp_path / "weak", weak),
    ]
    result = differences(entries_of(load_runs(paths)))
    assert [(item.of.label, item.less.label) for item in result] == [
        ("kd · student", "student"),
        ("kd · student", "kd · teacher"),
        ("weak · student", "student"),
        ("weak · student", "weak · teacher"),
    ]
    gain, _, loss, _ = result
    assert gain.values["accuracy"] == pytest.approx(gain.of.test["accuracy"] - gain.less.test["accuracy"])
    assert gain.values["balanced_accuracy"] > 0 > loss.values["balanced_accuracy"]
    assert gain.better["balanced_accuracy"] is True
    assert loss.better["balanced_accuracy"] is False
    assert loss.interval is not None
    assert loss.interval.high < 0
    sentences = [sentence for _, sentence in run_text.findings(result)]
    assert re.fullmatch(r"is \d+\.\d points above the same network trained alone", sentences[0])
    assert re.fullmatch(r"is \d+\.\d points below the same network trained alone", sentences[2])
    assert "below its teacher" in sentences[3]


def test_lower_calibration_error_is_better(runs: list[Path]) -> None:
    difference = differences(entries_of(load_runs(runs)))[0]
    assert difference.better["calibration_error"] is (difference.values["calibration_error"] < 0)


def test_only_like_is_compared_with_like(tmp_path: Path) -> None:
    alone = write_fake_run(tmp_path / "student", ALONE)
    elsewhere = write_fake_run(tmp_path / "other-split", replace(TAUGHT, split_seed=5))
    larger = TAUGHT.networks | {"student": Taught(backbone="mobilenetv2_100")}
    deeper = write_fake_run(tmp_path / "other-net", replace(TAUGHT, networks=larger))
    result = differences(entries_of(load_runs([alone, elsewhere, deeper])))
    assert {item.less.kind for item in result} == {"teacher"}
    text = Page(write_report([alone, elsewhere], tmp_path / "r.html").read_text()).text
    assert "Different test images" in text


def test_what_else_differs_is_said(tmp_path: Path) -> None:
    paths = [
        write_fake_run(tmp_path / "student", replace(ALONE, seed=3, epochs=8)),
        write_fake_run(tmp_path / "kd", TAUGHT),
    ]
    difference = differences(entries_of(load_runs(paths)))[0]
    assert difference.unlike == ["seed: 0 and 3", "epochs: 6 and 8"]


def test_equal_seed_is_preferred(tmp_path: Path) -> None:
    paths = [write_fake_run(tmp_path / f"student-{seed}", replace(ALONE, seed=seed)) for seed in (0, 1)]
    paths.append(write_fake_run(tmp_path / "kd", replace(TAUGHT, seed=1)))
    result = [item for item in differences(entries_of(load_runs(paths))) if item.less.kind == "alone"]
    assert [item.less.label for item in result] == ["student-1 · student"]
    assert result[0].unlike == []


def test_split_table_counts_images_and_groups(runs: list[Path]) -> None:
    run = load_run(runs[0])
    rows = split_table(run)
    assert [row["name"] for row in rows] == [*THREE, "all"]
    for row in rows[:-1]:
        here = run.split[(run.split["label"] == row["name"]) & (run.split["part"] == "test")]
        assert row["cells"]["test"] == (len(here), here["group"].nunique())
    assert sum(images for images, _ in rows[-1]["cells"].values()) == len(run.split)
    assert sum(row["share"] for row in rows[:-1]) == pytest.approx(1)


def test_confusion_rows_are_the_truth(runs: list[Path]) -> None:
    entry = entries_of([load_run(runs[0])])[0]
    for row in confusion_table(entry):
        recall = row["cells"][THREE.index(row["name"])][1]
        assert recall == pytest.approx(entry.test["per_class_recall"][row["name"]])


def test_reliability_bins_are_those_of_the_calibration_error() -> None:
    draw = np.random.default_rng(3)
    scores = draw.dirichlet([0.6, 0.6, 0.6], size=400)
    scores[:2] = [[1, 0, 0], [0.6, 0.4, 0]]  # on the edges of bins
    targets = draw.integers(0, 3, 400)
    cases, mean, accuracy = reliability_bins(scores.max(axis=1), scores.argmax(axis=1) == targets)
    assert cases.sum() == 400
    gap = np.nansum(cases * np.abs(mean - accuracy)) / 400
    assert gap == pytest.approx(calibration_error(targets, scores), abs=1e-12)


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (lambda value: words.ratio(value), "0.123"),
        (lambda value: words.signed(value), "+0.123"),
        (lambda value: words.signed(-value), "\u22120.123"),
        (lambda value: words.signed(value / 1000), "0.000"),
        (lambda value: words.scaled(value * 1e7), "1.23 M"),
        (lambda value: words.scaled(value * 1e10, "B"), "1.23 GB"),
        (lambda _: words.scaled(None), words.NONE),
        (lambda _: words.count(10015), "10 015"),
        (lambda _: words.duration(59.6), "1 min 00 s"),
        (lambda _: words.duration(3725), "1 h 02 min"),
        (lambda value: words.milliseconds(value), "0.123 ms"),
        (lambda _: words.listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_how_numbers_are_written(write: object, text: str) -> None:
    assert write(0.12345).replace(words.THIN, " ") == text  # type: ignore[operator]
