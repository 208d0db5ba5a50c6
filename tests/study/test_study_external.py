"""Other data sets of a study: measured for every cell after training, never a reason to train again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from conftest import KNOBS, TINY, without_reports
from page import Page
from preceptor import train
from preceptor.data.phantom import Phantom, write_phantom
from preceptor.data.readers import read
from preceptor.recipes.resolve import resolve
from preceptor.report.entries import LabelledRun
from preceptor.report.study_external import external_sections
from preceptor.report.study_report import write_study_report
from preceptor.report.study_results import read_study
from preceptor.study.other_data import known_to_study, measure_cells
from preceptor.study.outcome import Outcome
from preceptor.study.overrides import CommandLine, resolve_plan
from preceptor.study.scheduler import Study, open_study, run_cells
from preceptor.study.worker import Job, work
from preceptor.utils.errors import PreceptorError
from small_study import plan

NAMES = {"mel": "melanoma", "nv": "nevus", "vasc": "angioma"}


class InThisProcess:
    """An engine without processes that counts what it trains."""

    def __init__(self) -> None:
        self.queue: list[Job] = []
        self.trained = 0

    def submit(self, job: Job) -> None:
        self.queue.append(job)

    def results(self, seconds: float) -> list[Outcome]:
        self.trained += 1
        return [work(self.queue.pop(0))]

    def running(self) -> set[str]:
        return set()

    def close(self) -> None:
        self.queue.clear()


def folders(phantom: Path, out: Path) -> Path:
    """Some classes of a phantom in folders of other names."""
    catalog = read("phantom", phantom, {})
    for row, label in enumerate(catalog.table["label"]):
        if label in NAMES:
            (out / NAMES[label]).mkdir(parents=True, exist_ok=True)
            shutil.copy(catalog.path(row), out / NAMES[label])
    return out


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("other")
    write_phantom(root / "phantom", Phantom(**{**KNOBS, "images": 80, "seed": 5}))  # type: ignore[arg-type]
    return folders(root / "phantom", root / "data")


def external(root: Path, **more: Any) -> dict[str, Any]:
    classes = {"melanoma": "mel", "nevus": "nv", "angioma": None}
    return {"reader": "folder", "name": "elsewhere", "root": str(root), "classes": classes, **more}


def run(folder: Path, phantom_root: Path, **changes: Any) -> tuple[Study, int]:
    engine = InThisProcess()
    study = open_study(resolve_plan(plan(**changes), CommandLine(root=phantom_root)), folder)
    run_cells(study, lambda: engine, 1)  # type: ignore[arg-type, return-value]
    return study, engine.trained


@pytest.fixture(scope="module")
def folder(phantom_root: Path, other: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "study"
    _, trained = run(folder, phantom_root)
    assert trained == 3
    study, trained = run(folder, phantom_root, external=[external(other)])
    assert (trained, study.unmeasured) == (0, {})  # an added data set trains nothing again
    return folder


def test_every_cell_is_measured(folder: Path) -> None:
    places = sorted(path.parent.parent.parent.name for path in folder.glob("cells/*/external/elsewhere/external.json"))
    assert len(places) == 2


def test_the_report_compares_methods_here_and_there(folder: Path) -> None:
    study = read_study(folder)
    (section,) = external_sections(study)
    assert section.name == "elsewhere"
    alone, taught = section.lines
    run = study.lines[1].runs[0, 0]
    table = pd.read_csv(run.path / "external" / "elsewhere" / "predictions.csv")
    rows = table[(table["part"] == "elsewhere") & (table["network"] == "student")]
    recalls = (rows["target"] == rows["predicted"]).groupby(rows["target"]).mean()
    assert taught.other.value == pytest.approx(recalls.mean())
    own = run.tested[(run.tested["network"] == "student") & run.tested["target"].isin(["mel", "nv"])]
    assert taught.own.value == pytest.approx((own["target"] == own["predicted"]).groupby(own["target"]).mean().mean())
    assert taught.other_gain.value == pytest.approx(taught.other.value - alone.other.value)
    assert alone.other_gain.value is None
    assert taught.other_gain.interval is not None
    assert np.isfinite(taught.other_gain.interval.low)
    of_own = run.tested[run.tested["network"] == "student"].filter(regex="^p_").max(axis=1)
    sure = np.concatenate([of_own, rows.filter(regex="^p_").max(axis=1)])
    area = roc_auc_score(np.repeat([1, 0], [len(of_own), len(rows)]), sure)
    assert taught.noticed.value == pytest.approx(area)
    assert taught.noticed.interval is not None
    assert taught.noticed.interval.low <= area <= taught.noticed.interval.high
    page = Page(write_study_report(folder).read_text(encoding="utf-8"))
    assert "carried-over" in page.ids
    assert "Does a network notice?" in " ".join(page.words)
    assert "There is no image of akiec, bcc, bkl, df and vasc" in " ".join(page.words)


def test_what_is_measured_already_stays(folder: Path, other: Path, phantom_root: Path) -> None:
    record = next(folder.glob("cells/*/external/elsewhere/external.json"))
    before = record.stat().st_mtime_ns
    run(folder, phantom_root, external=[external(other)])
    assert record.stat().st_mtime_ns == before


def test_a_run_that_cannot_be_measured_is_named(folder: Path, other: Path, phantom_root: Path) -> None:
    study = open_study(resolve_plan(plan(external=[external(other)]), CommandLine(root=phantom_root)), folder)
    from preceptor.runs.directory import Run
    from preceptor.runs.known_images import KnownImages

    failed = measure_cells(study.plan, [Run(folder / "cells" / "nowhere")], {"elsewhere": KnownImages()}, None)
    assert list(failed) == ["nowhere on elsewhere"]


def test_the_studys_own_images_are_refused_before_training(phantom_root: Path, tmp_path: Path) -> None:
    own = folders(phantom_root, tmp_path / "own")
    with pytest.raises(PreceptorError, match=r"images of elsewhere are the runs' own[\s\S]*skip_known: true"):
        run(tmp_path / "study", phantom_root, external=[external(own)])


def test_images_that_a_given_teacher_learned_from_are_refused(phantom_root: Path, other: Path, tmp_path: Path) -> None:
    classes = {"melanoma": "mel", "nevus": "nv"}
    for name in classes:
        shutil.copytree(other / name, tmp_path / "two" / name)
    small = {**TINY, "epochs": 1, "split.folds": 2, "backbone": "test_resnet", "pretrained": "none"}
    with without_reports():
        teacher = train("student", small, data="folder", root=tmp_path / "two", out=tmp_path / "teacher")
    drawn = resolve_plan(plan(external=[external(tmp_path / "two", classes=classes)]), CommandLine(root=phantom_root))
    catalog = read("phantom", phantom_root, {})
    assert not known_to_study(drawn, catalog, [resolve("student")])["elsewhere"].parts
    taught = resolve("kd", {"teacher": str(teacher.path)})
    with pytest.raises(PreceptorError, match=r"images of elsewhere are the runs' own[\s\S]*skip_known: true"):
        known_to_study(drawn, catalog, [taught])
    gone = resolve("kd", {"teacher": str(tmp_path / "gone")})  # of a study whose cells are finished
    assert not known_to_study(drawn, catalog, [gone])["elsewhere"].parts


def test_under_the_protocol_of_papers_the_own_part_is_not_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LabelledRun, "paper_protocol", True)
    (section,) = external_sections(read_study(folder))
    for line in section.lines:
        assert (line.own.value, line.change.value, line.own_gain.value) == (None, None, None)
        assert line.other.value is not None
    assert "is not shown here" in section.sentences[-1]


def test_classes_without_a_counterpart_are_refused_at_once(phantom_root: Path, other: Path, tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match=r"external, elsewhere: elsewhere: the class 'angioma' is none of"):
        run(tmp_path / "study", phantom_root, external=[external(other, classes={"melanoma": "mel", "nevus": "nv"})])
