"""The report: what it says of runs, what it refuses, and that it needs nothing but itself."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fake_run import CLASSES, FakeRun, Taught, write_fake_run
from preceptor.errors import PreceptorError
from preceptor.evaluation.metrics import calibration_error
from preceptor.report import words
from preceptor.report.build import render, write_report
from preceptor.report.figures import reliability_bins
from preceptor.report.intervals import balanced_accuracy_samples, interval
from preceptor.report.run import entries_of, load_run, load_runs
from preceptor.report.tables import confusion_table, differences, split_table

THREE = ("bkl", "mel", "nv")
ALONE = FakeRun(classes=THREE, images=160, epochs=6)
TAUGHT = replace(
    ALONE,
    recipe="kd",
    networks={
        "teacher": Taught("frozen teacher", "mobilenetv2_100", 3.0, "run runs/teacher"),
        "student": Taught(skill=2.6),
    },
    objectives=("cross_entropy", "kl"),
)
VOID = {"meta", "br", "hr", "img", "input", "link"}


class _Page(HTMLParser):
    """Collects what a browser would: open tags that never close, ids, links and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def said(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("runs")
    noted = {"notes": ("The images are downscaled to 96 px.",), "excluded": ("ISIC_0099991", "ISIC_0099992")}
    return [
        write_fake_run(base / "student", replace(ALONE, **noted)),
        write_fake_run(base / "kd", replace(TAUGHT, **noted)),
    ]


@pytest.fixture(scope="module")
def page(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("out") / "deep" / "report.html"
    assert write_report(runs, out) == out
    return out.read_text(encoding="utf-8")


def test_page_needs_nothing_from_elsewhere(page: str) -> None:
    attributes = _Page(page).attributes
    assert not [tag for tag, _, _ in attributes if tag in {"script", "link", "iframe", "object", "img"}]
    assert all(value.startswith("#") for _, name, value in attributes if name in {"href", "xlink:href"})
    assert "://" not in page
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}


def test_page_is_well_formed(page: str) -> None:
    parsed = _Page(page)
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    referred = {value[1:] for _, name, value in parsed.attributes if name in {"href", "xlink:href"}}
    referred |= set(re.findall(r"url\(#([\w-]+)\)", page))
    assert referred <= set(parsed.ids)


def test_figures_follow_the_colours_of_the_page(page: str) -> None:
    assert "#fe00" not in page  # no stand-in is left
    assert page.count("<svg") == 3 + 3 + 2 + 3 + 4  # ROC, reliability, cost, curves of one and of two objectives
    used = set(re.findall(r"var\((--\w+)\)", page))
    assert used <= set(re.findall(r"(--\w+):", page))


def test_page_says_what_ran(page: str, runs: list[Path]) -> None:
    said = _Page(page).said
    for path in runs:
        run = load_run(path)
        assert run.environment["command"] in said
        assert run.split_hash in said
        for facts in run.metrics["networks"].values():
            for name in ("balanced_accuracy", "macro_auc", "calibration_error"):
                assert f"{facts['test'][name]:.3f}" in said
                assert f"{facts['validation'][name]:.3f}" in said
            for recall in facts["test"]["per_class_recall"].values():
                assert f"{recall:.3f}" in said
    assert "Hinton et al. 2015" in said
    assert "fold 0 of 5" in said
    assert "9d8c1f0b6a3e" in said
    assert "Not for diagnostic use." in said
    assert "start: run runs/teacher" in said


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
    assert write_report(runs, tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_paper_protocol_is_loud(tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "paper", replace(ALONE, protocol="paper", epochs=12))
    said = _Page(write_report([path], tmp_path / "r.html").read_text()).said
    assert "Optimistic figures: protocol “paper”" in said
    assert "the mean of the last 10." in said
    assert "by which the epoch was chosen" not in said  # there is no validation part
    assert "resamplings" not in said  # a mean over epochs has no predictions to resample
    assert "test part" in said


def test_runs_of_a_quick_study_are_no_evidence(tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "quick", ALONE)
    environment = json.loads((path / "environment.json").read_text())
    (path / "environment.json").write_text(json.dumps({**environment, "marked": "quick: not evidence"}))
    said = render(load_runs([path]))
    assert "(quick: not evidence)" in said[: said.index("</title>")]
    assert "<h2>Quick: not evidence</h2>" in said
    assert "not evidence" not in render(load_runs([write_fake_run(tmp_path / "whole", ALONE)]))


def test_grouped_protocol_is_not(page: str) -> None:
    assert "Optimistic" not in page


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    hostile = ("<script>alert(1)</script>", "$\\frac{1}{2}$", 'a"&b')
    run = replace(ALONE, classes=hostile, notes=("</style><script>",), networks={"<b>net": Taught()})
    text = write_report([write_fake_run(tmp_path / "<i>run", run)], tmp_path / "r.html").read_text()
    parsed = _Page(text)
    assert parsed.open == []
    assert "<script" not in text
    assert "<b>net" not in text
    assert hostile[0] in parsed.said
    assert hostile[1] in parsed.said


def test_a_short_run_on_few_images_is_shown_too(tmp_path: Path) -> None:
    run = replace(ALONE, classes=CLASSES, images=60, epochs=1)
    path = write_fake_run(tmp_path / "short", run)
    absent = load_run(path).metrics["networks"]["student"]["test"]["absent_classes"]
    assert absent  # else this test would show nothing
    said = _Page(write_report([path], tmp_path / "r.html").read_text()).said
    assert f"no test image of {', '.join(absent)}" in said
    assert "no case" in said


def test_costs_measured_differently_are_told_apart(runs: list[Path], tmp_path: Path) -> None:
    copy = shutil.copytree(runs[0], tmp_path / "gpu")
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics["networks"]["student"]["cost"]["latency_ms"]["device"] = "H100"
    (copy / "metrics.json").write_text(json.dumps(metrics))
    conditions = words.cost_conditions(entries_of(load_runs([*runs, copy])))
    assert [labels for _, labels in conditions] == [
        ["student", "kd · teacher", "kd · student"],
        ["gpu · student"],
    ]
    assert "H100" in conditions[1][0]


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
    found = differences(entries_of(load_runs(paths)))
    assert [(one.of.label, one.less.label) for one in found] == [
        ("kd · student", "student"),
        ("kd · student", "kd · teacher"),
        ("weak · student", "student"),
        ("weak · student", "weak · teacher"),
    ]
    gain, _, loss, _ = found
    assert gain.values["accuracy"] == pytest.approx(gain.of.test["accuracy"] - gain.less.test["accuracy"])
    assert gain.values["balanced_accuracy"] > 0 > loss.values["balanced_accuracy"]
    assert gain.better["balanced_accuracy"] is True
    assert loss.better["balanced_accuracy"] is False
    assert loss.interval is not None
    assert loss.interval.high < 0
    sentences = [one["sentence"] for one in words.findings(found)]
    assert sentences[0].startswith("gained ")
    assert sentences[2].startswith("lost ")
    assert "below its teacher" in sentences[3]


def test_lower_calibration_error_is_better(runs: list[Path]) -> None:
    one = differences(entries_of(load_runs(runs)))[0]
    assert one.better["calibration_error"] is (one.values["calibration_error"] < 0)


def test_only_like_is_compared_with_like(tmp_path: Path) -> None:
    alone = write_fake_run(tmp_path / "student", ALONE)
    elsewhere = write_fake_run(tmp_path / "other-split", replace(TAUGHT, split_seed=5))
    larger = TAUGHT.networks | {"student": Taught(backbone="mobilenetv2_100")}
    deeper = write_fake_run(tmp_path / "other-net", replace(TAUGHT, networks=larger))
    found = differences(entries_of(load_runs([alone, elsewhere, deeper])))
    assert {one.less.kind for one in found} == {"teacher"}
    said = _Page(write_report([alone, elsewhere], tmp_path / "r.html").read_text()).said
    assert "Different test images" in said


def test_what_else_differs_is_said(tmp_path: Path) -> None:
    paths = [
        write_fake_run(tmp_path / "student", replace(ALONE, seed=3, epochs=8)),
        write_fake_run(tmp_path / "kd", TAUGHT),
    ]
    one = differences(entries_of(load_runs(paths)))[0]
    assert one.unlike == ["seed: 0 and 3", "epochs: 6 and 8"]


def test_equal_seed_is_preferred(tmp_path: Path) -> None:
    paths = [write_fake_run(tmp_path / f"student-{seed}", replace(ALONE, seed=seed)) for seed in (0, 1)]
    paths.append(write_fake_run(tmp_path / "kd", replace(TAUGHT, seed=1)))
    found = [one for one in differences(entries_of(load_runs(paths))) if one.less.kind == "alone"]
    assert [one.less.label for one in found] == ["student-1 · student"]
    assert found[0].unlike == []


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


def _predictions(groups: int, images: int, skill: float, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``images`` equal images in each group; the two classes alternate between groups."""
    right = np.repeat(np.random.default_rng(seed).random(groups) < skill, images)
    group = np.repeat(np.arange(groups), images)
    target = np.where(group % 2, "mel", "nv")
    other = np.where(group % 2, "nv", "mel")
    ids = [f"{index}" for index in range(groups * images)]
    split = pd.DataFrame({"id": ids, "group": [f"g{index}" for index in group]})
    return pd.DataFrame({"id": ids, "target": target, "predicted": np.where(right, target, other)}), split


def test_interval_has_the_width_of_its_groups() -> None:
    # Two classes of 200 groups, each right with 0.8: the error of the mean recall is sqrt(0.16 / 400).
    predictions, split = _predictions(400, 1, 0.8)
    found = interval(balanced_accuracy_samples(predictions, split))
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.16 / 400), rel=0.1)
    assert found.low < (predictions["target"] == predictions["predicted"]).mean() < found.high


def test_repeated_images_of_a_lesion_do_not_narrow_it() -> None:
    once = interval(balanced_accuracy_samples(*_predictions(200, 1, 0.7)))
    often = interval(balanced_accuracy_samples(*_predictions(200, 5, 0.7)))
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.01)


def test_resamplings_are_paired() -> None:
    predictions, split = _predictions(60, 2, 0.7)
    shuffled = predictions.sample(frac=1, random_state=1)
    gap = balanced_accuracy_samples(predictions, split) - balanced_accuracy_samples(shuffled, split)
    assert np.abs(gap).max() < 1e-12


def test_lone_class_group_may_be_missed_by_a_resampling() -> None:
    predictions, split = _predictions(5, 1, 1.0)
    assert np.all(balanced_accuracy_samples(predictions, split) == 1.0)


@pytest.mark.parametrize(
    ("write", "said"),
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
def test_how_numbers_are_written(write: object, said: str) -> None:
    assert write(0.12345).replace(words.THIN, " ") == said  # type: ignore[operator]


def test_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="no run directory"):
        write_report([], tmp_path / "r.html")


def test_a_run_given_twice_is_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="given 2 times"):
        write_report([runs[0], runs[0] / ".." / "student"], tmp_path / "r.html")


def test_other_classes_are_refused(runs: list[Path], tmp_path: Path) -> None:
    other = write_fake_run(tmp_path / "two", replace(ALONE, classes=("a", "b")))
    with pytest.raises(PreceptorError, match="has the classes a, b"):
        write_report([runs[0], other], tmp_path / "r.html")


def test_missing_and_foreign_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="not a directory"):
        load_run(tmp_path / "nowhere")
    with pytest.raises(PreceptorError, match=r"holds no recipe\.yaml"):
        load_run(tmp_path)


@pytest.fixture
def spoilt(runs: list[Path], tmp_path: Path) -> Path:
    """A copy of a finished run, for the test to damage."""
    return shutil.copytree(runs[0], tmp_path / "run")


def test_unfinished_run_says_how_to_go_on(spoilt: Path) -> None:
    (spoilt / "metrics.json").unlink()
    with pytest.raises(PreceptorError, match="unfinished") as caught:
        load_run(spoilt)
    assert caught.value.remedy == f"preceptor resume {spoilt}"


@pytest.mark.parametrize(
    "name", ["environment.json", "split.csv", "history.csv", "predictions.csv", "metrics.json", "recipe.yaml"]
)
def test_every_broken_file_is_named(spoilt: Path, name: str) -> None:
    for content in (b"", b"\xff\xfe{", b"[1, 2"):
        (spoilt / name).write_bytes(content)
        with pytest.raises(PreceptorError, match=re.escape(str(spoilt / name))):
            load_run(spoilt)


@pytest.mark.parametrize("name", ["environment.json", "split.csv", "history.csv", "predictions.csv"])
def test_every_missing_file_is_named(spoilt: Path, name: str) -> None:
    (spoilt / name).unlink()
    with pytest.raises(PreceptorError, match=re.escape(f"{spoilt / name} is missing")):
        load_run(spoilt)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 2, "format is 2"),
        ("task", "detection", "task is 'detection'"),
        ("classes", [], "lacks classes"),
        ("classes", ["bkl", "mel", "new"], "lacks the column p_new"),
        ("networks", {"student": {"test": None}}, r"lacks networks\.student\.test\.balanced_accuracy"),
        ("networks", {"other": {"test": {"balanced_accuracy": 1}}}, "no test row of the network other"),
    ],
)
def test_metrics_that_do_not_fit_are_refused(spoilt: Path, key: str, value: object, message: str) -> None:
    metrics = json.loads((spoilt / "metrics.json").read_text())
    (spoilt / "metrics.json").write_text(json.dumps(metrics | {key: value}))
    with pytest.raises(PreceptorError, match=message):
        load_run(spoilt)


def test_unwritable_place_is_named(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PreceptorError, match="cannot be written"):
        write_report(runs[:1], tmp_path / "file" / "report.html")
