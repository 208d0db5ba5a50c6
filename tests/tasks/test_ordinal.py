"""Grades: their metrics against scikit-learn, and a run that is judged by them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from conftest import TINY
from preceptor import train
from preceptor.evaluation.metrics import metrics_of
from preceptor.recipes.resolve import resolve


@pytest.mark.parametrize("seed", range(4))
def test_metrics_of_grades_are_scikit_learns(seed: int) -> None:
    draw = np.random.default_rng(seed)
    targets, scores = draw.integers(0, 5, 200), draw.dirichlet(np.ones(5), 200)
    predicted, metrics = scores.argmax(1), metrics_of("ordinal")
    kappa = cohen_kappa_score(targets, predicted, labels=range(5), weights="quadratic")
    assert metrics["quadratic_kappa"](targets, scores) == pytest.approx(kappa)
    assert metrics["mean_grade_error"](targets, scores) == pytest.approx(mean_absolute_error(targets, predicted))
    assert metrics["off_by_one_accuracy"](targets, scores) == pytest.approx((abs(targets - predicted) <= 1).mean())


def test_agreement_on_a_single_grade_has_no_kappa() -> None:
    assert metrics_of("ordinal")["quadratic_kappa"](np.zeros(3, int), np.eye(2)[[0, 0, 0]]) is None


def test_a_run_selects_by_kappa_and_reports_it(phantom_root: Path, tmp_path: Path) -> None:
    settings = {**TINY, "networks.teacher.backbone": "test_resnet", "networks.teacher.pretrained": "none"}
    run = train("teacher", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=settings, task="ordinal")
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert (metrics["task"], metrics["selected_by"]) == ("ordinal", "validation/teacher/quadratic_kappa")
    assert set(metrics_of("ordinal")) <= set(metrics["networks"]["teacher"]["test"])
    assert "quadratic weighted kappa" in (run.path / "report.html").read_text()


@pytest.mark.parametrize("recipe", ["kd", "crckd", "kd_ml_v3", "mean_teacher"])
def test_recipes_with_a_form_for_tasks_take_it(recipe: str) -> None:
    resolved = resolve(recipe, {"task": "ordinal"})
    assert resolved.select.metric == "quadratic_kappa"
    assert {"cross_entropy"} <= {objective.loss for objective in resolved.objectives}
