"""Several labels per image: metrics against scikit-learn, a bootstrap written out, and runs from a table on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, hamming_loss, roc_auc_score

import preceptor
from preceptor import train
from preceptor.evaluation.metrics import metrics_of
from preceptor.evaluation.resampling import Resampling, resample
from preceptor.recipes.resolve import resolve
from preceptor.runs.directory import Run
from preceptor.tasks import TASKS
from preceptor.training.checks import check_objectives
from preceptor.utils.errors import PreceptorError
from small_labels import LABELS, write_labelled_images

SMALL = {
    "image_size": 32,
    "batch_size": 16,
    "epochs": 2,
    "networks.student.backbone": "test_efficientnet",
    "networks.student.pretrained": "none",
}


def _cases(images: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    targets = (draw.random((images, 3)) < [0.5, 0.2, 0.1]).astype(float)
    scores = np.round(1 / (1 + np.exp(-(draw.normal(size=(images, 3)) + 1.5 * targets - 0.7))), 2)
    return targets, scores


def test_metrics_of_labels_are_scikit_learns() -> None:
    targets, scores = _cases()
    metrics = metrics_of("multi_label")
    assert metrics["label_auc"](targets, scores) == pytest.approx(roc_auc_score(targets, scores))
    precision = average_precision_score(targets, scores)
    assert metrics["label_average_precision"](targets, scores) == pytest.approx(precision)
    called = scores >= 0.5
    assert metrics["label_macro_f1"](targets, scores) == pytest.approx(f1_score(targets, called, average="macro"))
    assert metrics["label_accuracy"](targets, scores) == pytest.approx(1 - hamming_loss(targets, called))


def test_labels_that_are_not_known_do_not_count() -> None:
    targets, scores = _cases()
    unknown = targets.copy()
    unknown[40:, 0] = np.nan
    of_known, others = roc_auc_score(targets[:40, 0], scores[:40, 0]), roc_auc_score(targets, scores, average=None)[1:]
    wanted = np.mean([of_known, *others])
    assert metrics_of("multi_label")["label_auc"](unknown, scores) == pytest.approx(wanted)
    unknown[:, 2] = 0
    assert metrics_of("multi_label")["label_macro_f1"](unknown, scores) is not None


def test_every_metric_is_that_of_a_literal_bootstrap() -> None:
    targets, scores = _cases()
    targets[5:9, 1] = np.nan
    groups = np.repeat(np.arange(60), 2).astype(str)
    resampling, metrics = Resampling(groups, samples=10), metrics_of("multi_label")
    sampled = resample(metrics, [((targets, scores), groups)], resampling)
    for index, times in enumerate(resampling.times):
        rows = np.repeat(np.arange(120), times[resampling.index(groups)])
        for key, metric in metrics.items():
            assert sampled[key].samples[index] == pytest.approx(metric(targets[rows], scores[rows]), abs=1e-12), key


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 images whose three labels are bright corners; some labels are not known."""
    root = tmp_path_factory.mktemp("labels")
    write_labelled_images(root)
    return root


@pytest.fixture(scope="module")
def distilled(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = tmp_path_factory.mktemp("recipe") / "sigmoid.yaml"
    recipe.write_text(
        """
name: sigmoid
task: multi_label
networks:
  student: {backbone: test_efficientnet}
  teacher: {backbone: test_resnet, frozen: true, trained_by: teacher}
views: {student: plain, teacher: {same_as: student}}
objectives:
  - {loss: binary_cross_entropy, of: student, positive_weights: balanced}
  - {loss: sigmoid_kd, from: teacher, to: student}
select: {network: student, metric: label_auc}
"""
    )
    overrides = {**SMALL, "data.labels": ",".join(LABELS)}
    del overrides["networks.student.pretrained"]
    out = tmp_path_factory.mktemp("runs") / "run"
    return train(str(recipe), data="table", root=table / "labels.csv", out=out, overrides=overrides)


def test_a_student_learns_labels_from_a_teacher(distilled: Run) -> None:
    metrics = json.loads((distilled.path / "metrics.json").read_text())
    assert (metrics["task"], metrics["classes"]) == ("multi_label", list(LABELS))
    test = metrics["networks"]["student"]["test"]
    assert set(metrics_of("multi_label")) <= set(test)
    assert list(test["per_label"]) == list(LABELS)
    assert test["fidelity"]["to"] == "teacher"
    rows = distilled.predictions
    cases = TASKS["multi_label"].metric_cases(rows[(rows["network"] == "student") & (rows["part"] == "test")], LABELS)
    assert metrics_of("multi_label")["label_auc"](*cases) == pytest.approx(test["label_auc"])
    report = (distilled.path / "report.html").read_text()
    assert "macro AUC of labels" in report
    assert 'id="labels"' in report


def test_explain_says_that_several_labels_are_not_explained(distilled: Run) -> None:
    with pytest.raises(PreceptorError, match="predict several labels per image") as caught:
        preceptor.explain(distilled.path)
    assert "mask" not in str(caught.value)


def test_trained_networks_are_not_sent_to_another_task(distilled: Run, phantom_root: Path) -> None:
    with pytest.raises(PreceptorError, match="one class and not several labels") as caught:
        preceptor.evaluate(distilled.path, data="phantom", root=phantom_root)
    assert "several labels per image" in caught.value.what
    assert "'task'" not in str(caught.value)
    assert "measure networks" in caught.value.remedy


def test_what_needs_one_class_is_refused(table: Path, tmp_path: Path, phantom_root: Path) -> None:
    options = {**SMALL, "data.labels": ",".join(LABELS)}
    out = tmp_path / "run"
    with pytest.raises(PreceptorError, match="several labels"):
        train("student", data="table", root=table / "labels.csv", out=out, overrides=options)
    with pytest.raises(PreceptorError, match="one class and not several labels"):
        train("student", data="phantom", root=phantom_root, out=out, overrides=SMALL, task="multi_label")
    losses = {**options, "objectives.binary_cross_entropy.loss": "cross_entropy"}
    with pytest.raises(PreceptorError, match="needs one class per image"):
        train("student", data="table", root=table / "labels.csv", out=out, overrides=losses, task="multi_label")


def test_softmax_distillation_of_labels_is_refused_and_kd_has_a_form_of_its_own() -> None:
    recipe = resolve("kd", {"task": "multi_label"})
    assert [objective.loss for objective in recipe.objectives] == ["binary_cross_entropy", "sigmoid_kd"]
    check_objectives(recipe)
    softmax = resolve("kd", {"task": "multi_label", "objectives.sigmoid_kd.loss": "kl"})
    with pytest.raises(PreceptorError, match="one distribution over classes"):
        check_objectives(softmax)


def test_recipes_have_a_form_for_labels() -> None:
    recipe = resolve("fitnet", {"task": "multi_label"})
    assert [objective.loss for objective in recipe.objectives] == ["binary_cross_entropy", "fitnet"]
    assert recipe.select.metric == "label_auc"
