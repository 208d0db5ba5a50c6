"""A metric that somebody else registers is in metrics.json, reports, study tables and select.metric."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from conftest import TINY
from fake_run import FakeRun, write_fake_run
from fake_study import FakeStudy, write_fake_study
from preceptor import train
from preceptor.evaluation.masks import MaskMeter
from preceptor.evaluation.metrics import METRICS, register_metric
from preceptor.recipes.resolve import resolve
from preceptor.report.run_report import write_report
from preceptor.report.study_report import write_study_report
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError

KEY, LABEL = "mean_confidence_of_errors", "mean confidence of errors"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metric as a plug-in writes it; gone after the test."""
    monkeypatch.setattr(METRICS, "_entries", {key: METRICS[key] for key in METRICS})

    @register_metric(KEY, label=LABEL, tasks=["classification"], higher_is_better=False)
    def mean_confidence_of_errors(targets: np.ndarray, probabilities: np.ndarray) -> float:
        wrong = probabilities.argmax(axis=1) != targets
        return float(probabilities.max(axis=1)[wrong].mean()) if wrong.any() else float("nan")


def test_one_that_ranks_images_says_so() -> None:
    """As the area under a curve: a study then computes it within folds."""

    @register_metric("largest_first", label="largest first", tasks=["classification"], ranks=True)
    def largest_first(targets: np.ndarray, probabilities: np.ndarray) -> float:
        return float(targets[probabilities[:, 1].argmax()] == 1)

    assert METRICS["largest_first"].ranks
    assert not METRICS[KEY].ranks


def test_it_is_measured_selects_the_epoch_and_is_in_the_report(phantom_root: Path, tmp_path: Path) -> None:
    settings = {**TINY, "networks.teacher.backbone": "test_resnet", "networks.teacher.pretrained": "none"}
    run = train(
        "teacher",
        data="phantom",
        root=phantom_root,
        out=tmp_path / "run",
        overrides={**settings, "epochs": 2, "select.metric": KEY},
    )
    test = json.loads((run.path / "metrics.json").read_text())["networks"]["teacher"]["test"]
    assert 0 < test[KEY] <= 1
    history = pd.read_csv(run.path / "history.csv")[f"validation/teacher/{KEY}"]
    selected = json.loads((run.path / "metrics.json").read_text())["selected_epoch"]
    assert selected == history.idxmin() + 1, "lower is better"
    assert LABEL in (run.path / "report.html").read_text()


def test_it_is_in_run_and_study_reports(tmp_path: Path) -> None:
    path = write_report([write_fake_run(tmp_path / "run", FakeRun())], tmp_path / "report.html")
    assert LABEL in path.read_text()
    folder = write_fake_study(tmp_path / "study", FakeStudy(rows=("ResNet50", "Student alone"), images=200))
    plan = yaml.safe_load((folder / "study.yaml").read_text())
    plan["layout"]["columns"] = {"accuracy": "ACC", KEY: "CONF"}
    (folder / "study.yaml").write_text(yaml.safe_dump(plan))
    write_study_report(folder)
    table = pd.read_csv(folder / "table.csv").query("metric == @KEY")
    assert len(table) == 2
    assert table[["pooled", "pooled_low", "pooled_high"]].notna().all(axis=None), "resampled by calling the function"


def test_recipes_and_plans_may_name_it_for_its_task_alone() -> None:
    assert resolve("kd", {"select.metric": KEY}).select.metric == KEY
    with pytest.raises(PreceptorError, match=f"select.metric: {KEY} is not of segmentation"):
        resolve("kd", {"task": "segmentation", "select.metric": KEY})


def test_a_metric_of_whole_masks_is_averaged_and_resampled_over_images() -> None:
    @register_metric("detected", label="detected targets", tasks=["segmentation"], per_image=True)
    def detected(target: np.ndarray, prediction: np.ndarray) -> float:
        return float((prediction[target > 0] > 0).any()) if target.any() else float("nan")

    truth, predicted = torch.zeros(4, 3, 3, dtype=torch.long), torch.zeros(4, 3, 3, dtype=torch.long)
    truth[:3, 1], predicted[0, 1, 1], predicted[3] = 1, 1, 1
    meter = MaskMeter(("none", "lesion"))
    meter.update(predicted, truth)
    assert meter.result()["detected"] == pytest.approx(1 / 3), "the image without a target is left out"
    rows = meter.rows(list("abcd"), part="test", network="student")
    assert rows["detected"].tolist()[:3] == [1, 0, 0]
    (counts,) = TASKS["segmentation"].metric_cases(rows, ("none", "lesion"))
    assert METRICS["detected"](counts) == pytest.approx(1 / 3)
