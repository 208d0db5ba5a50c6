"""The report of a study: what its table and pages say, and what a browser makes of it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import preceptor
from browser import CHROMIUM, measure_page
from fake_study import PAPER, SMALL, write_fake_study
from page import Page
from preceptor.evaluation.statistics import corrected_t_test, holm, holm_levels
from preceptor.report.study_compare import compare
from preceptor.report.study_figures import costs_of, forest, label_places, pareto_front
from preceptor.report.study_report import write_study_report
from preceptor.report.study_results import read_study
from preceptor.report.study_tables import as_latex, as_markdown
from preceptor.report.study_text import warnings
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError

FULL = replace(SMALL, failed=(("RKD", 1, 0),), pending=(("FitNet", 2, 0),), relations=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_fake_study(tmp_path_factory.mktemp("studies") / "full", FULL)
    assert write_study_report(folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_table_holds_the_runs_own_figures(folder: Path) -> None:
    table = pd.read_csv(folder / "table.csv").set_index(["row", "metric"])
    runs = [folder / f"cells/kd-fold{fold}-seed0" for fold in (0, 1, 2)]
    text = [json.loads((run / "metrics.json").read_text())["networks"]["student"]["test"] for run in runs]
    for metric in ("accuracy", "balanced_accuracy", "macro_auc", "macro_precision"):
        values = [item[metric] for item in text]
        row = table.loc["KD", metric]
        assert row["mean"] == pytest.approx(np.mean(values))
        assert row["std"] == pytest.approx(np.std(values, ddof=1))
    assert table.loc[("KD", "accuracy"), "paper"] == PAPER["KD"]["accuracy"]
    assert table["evidence"].isna().all()


def test_equal_networks_cost_the_same(tmp_path: Path) -> None:
    """Cells are timed on a machine that others keep busy; that must not set two equal students apart."""
    folder = write_fake_study(tmp_path / "s", replace(SMALL, rows=("ResNet50", "Student alone", "KD"), folds=(0, 1)))
    usual = []
    for place, cell in enumerate(sorted((folder / "cells").glob("[sk]*"))):
        metrics = json.loads((cell / "metrics.json").read_text())
        usual.append(metrics["networks"]["student"]["cost"]["latency_ms"]["median"] * (1 + place))
        metrics["networks"]["student"]["cost"]["latency_ms"]["median"] = usual[-1]
        (cell / "metrics.json").write_text(json.dumps(metrics))
    lines = read_study(folder).lines
    teacher, alone, kd = (costs_of(lines)[line.index] for line in lines)
    assert alone["latency_ms"] == kd["latency_ms"] == {"median": np.median(usual)}
    assert teacher["latency_ms"] != kd["latency_ms"]


def test_rows_are_compared_on_the_cells_that_both_have(folder: Path) -> None:
    result = compare(read_study(folder), samples=200)
    by = {line.row.name: line for line in result.study.lines}
    tests = []
    for versu in result.versus["balanced_accuracy"]:
        mine, theirs = (line.values("balanced_accuracy") for line in (versu.line, by["Student alone"]))
        common = sorted(mine.keys() & theirs.keys())
        share = np.mean([versu.line.runs[key].test_share for key in common])
        tests.append(corrected_t_test([mine[key] - theirs[key] for key in common], share))
        assert versu.test == tests[-1].at_level(versu.level)
        assert versu.test.folds == {"RKD": 2, "FitNet": 2}.get(versu.line.row.name, 3)
    p_values = [test.p for test in tests]
    assert [versu.adjusted for versu in result.versus["balanced_accuracy"]] == holm(p_values)
    assert [versu.level for versu in result.versus["balanced_accuracy"]] == holm_levels(p_values)


def test_pooled_predictions_are_those_of_every_test_image_once(folder: Path) -> None:
    study = read_study(folder)
    line = next(item for item in study.lines if item.row.name == "KD")
    (table,) = line.tested().values()
    assert not table["id"].duplicated().any()
    assert len(table) == sum((run.split["part"] == "test").sum() for run in line.runs.values())
    pooled = compare(study, samples=50).pooled[line.index]
    recalls = [(rows["target"] == rows["predicted"]).mean() for _, rows in table.groupby("target")]
    assert pooled["balanced_accuracy"].value == pytest.approx(np.mean(recalls))
    assert pooled["accuracy"].value == pytest.approx((table["target"] == table["predicted"]).mean())


def test_the_report_of_a_study_is_written_anew(folder: Path, tmp_path: Path) -> None:
    """As after an update of Preceptor, without the data and the plan that ``preceptor study`` needs."""
    study = shutil.copytree(folder, tmp_path / "study")
    (study / "report.html").unlink()
    assert preceptor.report(study, progress=False) == study / "report.html"
    assert (study / "report.html").read_bytes() == (folder / "report.html").read_bytes()
    with pytest.raises(PreceptorError, match="whose report lies in its folder"):
        preceptor.report(study, out=tmp_path / "other.html", progress=False)
    with pytest.raises(PreceptorError, match="holds a study") as refused:
        preceptor.report([study, study / "cells" / "kd-fold0-seed0"], progress=False)
    assert refused.value.expected == "runs alone, or one study alone, on one page"


def test_images_are_ranked_by_the_scores_of_one_network(folder: Path) -> None:
    """Of two folds one network may be surer throughout, which says nothing of either."""
    study, task = read_study(folder), TASKS["classification"]
    line = next(item for item in study.lines if item.row.name == "KD")
    areas = [
        task.metrics["macro_auc"](*task.metric_cases(rows, study.classes)) for rows in line.tested_in_folds().values()
    ]
    (together,) = (
        task.metrics["macro_auc"](*task.metric_cases(rows, study.classes)) for rows in line.tested().values()
    )
    pooled = compare(study, samples=50).pooled[line.index]["macro_auc"]
    assert len(areas) == 3
    assert pooled.value == pytest.approx(np.mean(areas))
    assert pooled.value != pytest.approx(together)
    assert pooled.interval.low < pooled.value < pooled.interval.high
    assert "ranks the scores of the networks of all folds together" in Page((folder / "report.html").read_text()).text


def test_a_missing_figure_is_told_from_a_missing_cell(tmp_path: Path) -> None:
    rows, pending = ("ResNet50", "Student alone", "KD"), (("KD", 0, 0), ("Student alone", 1, 0))
    folder = write_fake_study(tmp_path / "s", replace(SMALL, rows=rows, folds=(0, 1), epochs=1, pending=pending))
    plan = folder / "study.yaml"
    plan.write_text(plan.read_text().replace("macro_auc", "macro_ouc"))  # as older versions let it pass
    result = compare(read_study(folder), samples=50)
    assert [versu.test.reason for versu in result.versus["macro_ouc"]] == [
        "ResNet50 and Student alone without this metric",
        "no cell in common",
    ]
    warning = dict(warnings(result))["4 of 6 cells are finished"]  # nothing failed, and there are no errors to look up
    assert warning == "2 have not been run. Rows are compared on the cells that both have."


def test_page_says_what_must_be_said(folder: Path, page: Page) -> None:
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {value[1:] for tag, name, value in page.attributes if (tag, name) == ("a", "href")} <= set(page.ids)
    for wanted in (
        "16 of 18 cells are finished", "1 has failed and 1 has not been run", "the loss became nan in epoch 3",
        "no difference shown", "Wang et al. 2023, table 2", "preceptor study ssdkd_table2 --root ISIC2019",
        "9d8c1f0b6a3e", "split-0-160", "torch 2.11.0", "Not for diagnostic use.", "0.767",
    ):  # fmt: skip
        assert wanted in page.text, wanted
    assert {"results", "differences", "cost", "classes", "calibration", "relations", "fidelity"} <= set(page.ids)
    assert "not evidence" not in (folder / "report.html").read_text().split("</style>")[1]


def test_page_needs_nothing_from_elsewhere(folder: Path, page: Page) -> None:
    text = (folder / "report.html").read_text()
    assert not [tag for tag, _, _ in page.attributes if tag in {"script", "link", "iframe", "object"}]
    assert "://" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_same_study_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    write_study_report(copy)
    for name in ("report.html", "report.md", "table.csv", "table.tex"):
        assert (copy / name).read_bytes() == (folder / name).read_bytes(), name


def test_quick_is_no_evidence_anywhere(tmp_path: Path) -> None:
    study = replace(SMALL, rows=("ResNet50", "Student alone"), quick=True, reader="phantom", epochs=1, folds=(0, 1))
    folder = write_fake_study(tmp_path / "s", study)
    write_study_report(folder)
    page = (folder / "report.html").read_text()
    body = Page(page).text
    assert body.count("quick: not evidence") >= 2
    assert "(quick: not evidence)" in page[: page.index("</title>")]
    assert ".quick h2" in page  # which writes it beside every heading, and under every figure
    assert '<body class="quick">' in page
    assert (folder / "report.md").read_text().startswith("# Distillation on ISIC 2019 (SSD-KD, table 2) (quick: not")
    assert (folder / "table.tex").read_text().count("quick: not evidence") == 2
    assert set(pd.read_csv(folder / "table.csv")["evidence"]) == {"quick: not evidence"}
    assert "Wang et al." not in body.split("The resolved plan")[0]  # of other data


def test_masks_have_no_classes(tmp_path: Path) -> None:
    study = replace(SMALL, masks=True, rows=("ResNet50", "Student alone", "KD"))
    folder = write_fake_study(tmp_path / "s", study)
    write_study_report(folder)
    page = Page((folder / "report.html").read_text())
    assert not {"classes", "calibration", "relations"} & set(page.ids)
    assert {"results", "differences", "cost", "overlays", "layers", "fidelity", "training", "cells"} <= set(page.ids)
    assert "IoU of all pixels, against Student alone" in page.text
    assert "mean HD95, pixels mean NSD, tolerance 2 pixels" in page.text, "in the table of pooled folds"
    text = (folder / "report.html").read_text()
    drawn = text[text.index('id="overlays"') : text.index('id="layers"')]
    assert drawn.count("<svg") == 4 * drawn.count("<figure") > 4 * 8  # each image alone, and every method on it
    table = pd.read_csv(folder / "table.csv")
    assert set(table["metric"]) == {"iou", "dice", "iou_pooled"}
    run = pd.concat(
        pd.read_csv(folder / f"cells/kd-fold{fold}-seed0/predictions.csv").query("part == 'test'") for fold in (0, 1, 2)
    )
    row = table.set_index(["row", "metric"]).loc[("KD", "iou")]
    assert row["pooled"] == pytest.approx(run.loc[run["network"] == "student", "iou"].mean())
    assert row["pooled_low"] < row["pooled"] < row["pooled_high"]


def test_latex_is_escaped(tmp_path: Path) -> None:
    folder = write_fake_study(tmp_path / "s", replace(SMALL, rows=("ResNet50", "Student alone"), epochs=1))
    plan = folder / "study.yaml"
    plan.write_text(plan.read_text().replace("ACC", "50% & A_B"))
    assert r"50\% \& A\_B" in as_latex(compare(read_study(folder), samples=50))


def test_paper_protocol_is_loud(tmp_path: Path) -> None:
    study = replace(SMALL, rows=("ResNet50", "Student alone"), protocol="paper", epochs=12)
    result = compare(read_study(write_fake_study(tmp_path / "s", study)), samples=50)
    assert "Optimistic results: protocol “paper”" in dict(warnings(result))
    assert "> **Optimistic results: protocol “paper”.**" in as_markdown(result)


def test_rows_that_are_one_run_are_named(tmp_path: Path) -> None:
    folder = write_fake_study(tmp_path / "s", replace(SMALL, rows=("ResNet50", "Student alone", "KD"), folds=(0, 1)))
    cells = json.loads((folder / "cells.json").read_text())
    runs = {(cell["name"], cell["fold"]): cell["run"] for cell in cells}
    for cell in cells:
        if cell["name"] == "KD":
            cell["run"] = runs["Student alone", cell["fold"]]
    (folder / "cells.json").write_text(json.dumps(cells))
    assert "Student alone and KD are one run under 2 names" in as_markdown(compare(read_study(folder)))


def test_lost_run_counts_as_failed(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(copy / "cells/kd-fold0-seed0")
    study = read_study(copy)
    assert [(cell.name, cell.fold) for cell in study.of("failed")] == [("KD", 0), ("RKD", 1)]
    assert "holds no finished run" in study.of("failed")[0].error


def test_cells_of_a_fold_hold_one_table_of_the_split(folder: Path, tmp_path: Path) -> None:
    """A study of many runs must not hold as many copies of the data set's table; one that differs stays its own."""
    study = read_study(folder)
    tables = {line.row.name: line.runs[0, 0].split for line in study.lines}
    assert tables["KD"] is tables["Student alone"]
    assert len({id(run.split) for run in study.runs}) == len(study.plan.folds)
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "cells/kd-fold0-seed0/split.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("train", "unlabelled", 1), encoding="utf-8")
    changed = next(line for line in read_study(copy).lines if line.row.name == "KD").runs[0, 0].split
    assert (changed["part"] == "unlabelled").sum() == (tables["KD"]["part"] == "unlabelled").sum() + 1


def test_what_is_no_study_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="is not a study"):
        read_study(tmp_path)
    copy = shutil.copytree(folder, tmp_path / "copy")
    plan = (copy / "study.yaml").read_text()
    (copy / "study.yaml").write_text(plan.replace("baseline: Student alone", "baseline: Student alon"))
    with pytest.raises(PreceptorError, match=r"no row 'Student alon'. Did you mean 'Student alone'"):
        read_study(copy)
    (copy / "study.yaml").write_text(plan)
    (copy / "cells.json").write_text("[{}]")
    with pytest.raises(PreceptorError, match=r"cells\.json"):
        read_study(copy)
    cells = json.loads((folder / "cells.json").read_text())
    (copy / "cells.json").write_text(json.dumps([cell for cell in cells if cell["state"] == "failed"]))
    with pytest.raises(PreceptorError, match=r"no cell is finished; the first error: objectives\.relations"):
        read_study(copy)


def test_labels_of_many_points_of_one_cost_stay_apart_and_in_the_frame() -> None:
    """13 methods of two students and their ensemble: 26 students cost the same, and learn about as much."""
    draw = np.random.default_rng(0)
    points = [(x, float(y)) for x, many in ((0.26, 24), (0.65, 13)) for y in draw.uniform(0.3, 0.7, many)]
    places = label_places(points)
    for index, (left, height) in enumerate(places):
        assert 0 <= height <= 1
        assert points[index][0] < left <= 0.97
        assert abs(height - points[index][1]) < 0.2, "each near the height of its point"
        for other, at in places[:index]:
            assert abs(left - other) >= 0.055 - 1e-9 or abs(height - at) >= 0.06 - 1e-9
    assert label_places([(0.5, 0.5)]) == [(0.536, 0.5)]


def test_frontier_keeps_what_nothing_cheaper_equals() -> None:
    assert pareto_front([(1, 0.5), (2, 0.4), (2, 0.6), (3, 0.6), (4, 0.9)]) == [0, 2, 4]


def test_forest_is_to_scale(folder: Path) -> None:
    result = compare(read_study(folder), samples=50)
    drawn = forest(result, "balanced_accuracy")
    assert drawn is not None
    (one, at), (two, at_two) = ((lane.versus.test.mean, lane.mean) for lane in drawn.lanes[:2])
    assert at is not None
    assert at_two is not None
    assert (at - drawn.zero) / one == pytest.approx((at_two - drawn.zero) / two)
    stretches = [lane.tested for lane in drawn.lanes if lane.tested]
    assert stretches
    assert all(start >= 0 and start + width <= 100 for start, width in stretches)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_all_of_it(folder: Path, width: int, tmp_path: Path) -> None:
    received = measure_page(folder / "report.html", width, tmp_path)
    assert received["width"] == width
    assert received["pictures"] == 6  # relation matrices
    assert received["missing"] == []
    assert received["wide"] == []
    assert received["page"] <= width


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_the_browser_would_have_seen_it(tmp_path: Path) -> None:
    page = tmp_path / "broken.html"
    page.write_text(
        '<body><img src="data:image/png;base64,AAAA"><div class="far" style="width: 500px">wide</div></body>'
    )
    received = measure_page(page, 390, tmp_path)
    assert len(received["missing"]) == 1
    assert [item.split(" ")[0] for item in received["wide"]] == ["DIV.far"]
    assert received["page"] > 390
