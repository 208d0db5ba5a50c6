"""Groups of classes in a recipe: figures, checks, and no training again for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

import preceptor
from conftest import TINY
from preceptor.evaluation.grouped_classes import group_metrics
from preceptor.recipes.resolve import resolve
from preceptor.runs.create import prepare
from preceptor.runs.data import Data
from preceptor.runs.dependencies import plan_run
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError

GROUPS = {"malignant": ["mel", "bcc"]}
SMALL = {**TINY, "epochs": 1, "networks.student.backbone": "test_resnet", "networks.student.pretrained": "none"}


def test_figures_of_a_group_agree_with_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    targets = draw.integers(0, 4, 300)
    scores = draw.dirichlet(np.ones(4), 300) * 0.6 + 0.4 * np.eye(4)[targets] * draw.random((300, 1))
    scores /= scores.sum(axis=1, keepdims=True)
    figures = group_metrics(targets, scores, ["bcc", "df", "mel", "nv"], GROUPS)["malignant"]
    truth, called = np.isin(targets, [0, 2]), np.isin(scores.argmax(1), [0, 2])
    (rejected, alarms), (missed, hits) = confusion_matrix(truth, called)
    assert figures["auc"] == pytest.approx(roc_auc_score(truth, scores[:, [0, 2]].sum(1)))
    assert figures["sensitivity"] == pytest.approx(hits / (hits + missed))
    assert figures["specificity"] == pytest.approx(rejected / (rejected + alarms))
    assert (figures["positives"], figures["negatives"]) == (truth.sum(), (~truth).sum())


def test_a_group_without_an_image_has_no_figures() -> None:
    figures = group_metrics(np.array([1, 1]), np.array([[0.1, 0.9], [0.2, 0.8]]), ["mel", "nv"], {"x": ["mel"]})["x"]
    assert figures["sensitivity"] is figures["auc"] is figures["partial_auc"] is None
    assert figures["specificity"] == 1


def test_metrics_of_a_run_have_the_groups_of_its_recipe(phantom_root: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "class_groups": GROUPS}
    preceptor.train("student", settings, data="phantom", root=phantom_root, out=tmp_path / "run", progress=False)
    run = Run(tmp_path / "run")
    rows = run.predictions.query("part == 'test'")
    figures = run.metrics.networks["student"].test["class_groups"]["malignant"]
    truth = rows["target"].isin(GROUPS["malignant"])
    assert figures["auc"] == pytest.approx(roc_auc_score(truth, rows[["p_bcc", "p_mel"]].sum(axis=1)))
    page = run.report.read_text(encoding="utf-8")
    assert "<b>malignant</b> (synthetic melanoma, synthetic basal cell carcinoma)" in page


def test_groups_do_not_change_what_is_trained() -> None:
    plain, grouped = resolve("student"), resolve("student", {"class_groups": GROUPS})
    assert grouped.plain()["class_groups"] == GROUPS
    assert "class_groups" not in plain.plain()
    assert plan_run(plain, 0, "data", 1).identity == plan_run(grouped, 0, "data", 1).identity


def test_a_group_can_be_given_on_the_command_line(phantom_root: Path) -> None:
    from preceptor.recipes.overrides import split_overrides

    settings, _ = split_overrides(["class_groups.malignant=[mel,bcc]"], None)
    assert resolve("student", settings).class_groups == GROUPS


@pytest.mark.parametrize(
    ("groups", "what"),
    [
        ({"malignant": ["melanom"]}, "there is no class 'melanom'"),
        ({"twice": ["mel", "mel"]}, "each once"),
        ({"all": ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]}, "against all others"),
    ],
)
def test_groups_that_there_are_not_are_refused_before_training(
    groups: dict[str, list[str]], what: str, phantom_root: Path, tmp_path: Path
) -> None:
    with pytest.raises(PreceptorError, match=what):
        prepare(resolve("student", {**SMALL, "class_groups": groups}), Data("phantom", phantom_root), tmp_path / "run")


def test_masks_have_no_groups_of_classes() -> None:
    with pytest.raises(PreceptorError, match="has no one class per image"):
        resolve("student", {"task": "segmentation", "class_groups": GROUPS})
