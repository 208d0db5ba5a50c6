"""Two students and a teacher: who learns what from whom, by gradient, and what the two say together."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import TINY
from preceptor import train
from preceptor.evaluation.ensemble import with_ensembles
from preceptor.networks.output import NetworkOutput
from preceptor.recipe import Recipe
from preceptor.recipes.kdml import STYLES, TECHNIQUES
from preceptor.recipes.resolve import resolve, validate
from preceptor.report.explain import explain
from preceptor.runs.dependencies import stage_recipe
from preceptor.runs.directory import Run
from preceptor.training.checks import check_objectives
from preceptor.training.objectives import LossInputs, build_objectives
from preceptor.utils.errors import PreceptorError

VARIANTS = list(product(TECHNIQUES, STYLES))
#: Niyaz et al. 2024, the table of styles, written out: (student, from whom, predictions or features).
PAPER = {
    ("ml", "v1"): {("1", "2", "P"), ("2", "1", "P")},
    ("ml", "v2"): {("1", "2", "F"), ("2", "1", "F")},
    ("ml", "v3"): {("1", "2", "P"), ("2", "1", "F")},
    ("kd", "v1"): {("1", "T", "P"), ("2", "T", "P")},
    ("kd", "v2"): {("1", "T", "F"), ("2", "T", "F")},
    ("kd", "v3"): {("1", "T", "P"), ("2", "T", "F")},
    ("kd_ml", "v1"): {("1", "T", "P"), ("2", "T", "P"), ("1", "2", "P"), ("2", "1", "P")},
    ("kd_ml", "v2"): {("1", "T", "F"), ("2", "T", "F"), ("1", "2", "F"), ("2", "1", "F")},
    ("kd_ml", "v3"): {("1", "T", "F"), ("1", "2", "P"), ("2", "T", "P"), ("2", "1", "F")},
}
SHORT = {"teacher": "T", "student_1": "1", "student_2": "2"}


class Stub:
    """As much of a network as objectives ask for."""

    channels, embedding_size, projection_size = 4, 5, None


def outputs(recipe: Recipe, generator: torch.Generator) -> dict[str, NetworkOutput]:
    shape = (6, 3, 8, 8) if recipe.task == "segmentation" else (6, 3)

    def leaf(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator).requires_grad_()

    return {name: NetworkOutput(leaf(*shape), leaf(6, 4, 2, 2), leaf(6, 5)) for name in recipe.networks}


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize(("technique", "style"), VARIANTS)
def test_every_edge_is_the_papers(technique: str, style: str, task: str) -> None:
    """Edge by edge: its gradient reaches the student's predictions or feature map, and nothing else of anyone."""
    recipe = resolve(f"{technique}_{style}", {"task": task})
    check_objectives(recipe)
    labels = torch.arange(6) % 3
    objectives = build_objectives(recipe, {name: Stub() for name in recipe.networks}, labels, 3)  # type: ignore[misc]
    masks = {name: torch.randint(3, (6, 8, 8)) for name in recipe.networks}
    result = set()
    for objective_module in objectives:
        text = outputs(recipe, torch.Generator().manual_seed(1))
        objective_module(LossInputs(text, {}, labels, torch.arange(6), masks, (0, 0, 0), [6])).backward()
        reached = {
            (name, field)
            for name, output in text.items()
            for field in ("logits", "feature_map", "embedding")
            if (grad := getattr(output, field).grad) is not None and grad.abs().sum() > 0
        }
        learner = objective_module.objective.learner
        kind = {"logits": "P", "feature_map": "F"}[next(iter(reached))[1]]
        assert reached == {(learner, "logits" if kind == "P" else "feature_map")}
        if objective_module.objective.source is not None:
            result.add((SHORT[learner], SHORT[objective_module.objective.source], kind))
        else:
            assert kind == "P", "the task's own loss"
    assert result == PAPER["kd" if technique.startswith("kd_o") else technique, style]


def test_an_online_teacher_learns_from_its_own_loss_alone() -> None:
    recipe = resolve("kd_ml_v3", {"online": True})
    assert recipe.networks["teacher"].learns
    taught = [item for item in recipe.objectives if item.learner == "teacher"]
    assert [(item.loss, item.source) for item in taught] == [("cross_entropy", None)]
    assert not resolve("kd_ml_v3").networks["teacher"].learns
    assert resolve("kd_on_v1").networks["teacher"].learns


def test_each_student_has_weights_of_its_own() -> None:
    recipe = resolve("kd_ml_v3", {"alpha": [0.1, 0.2], "beta": [0.3, 0.4], "gamma": [0.5, 0.6]})
    weights = {objective.name: objective.weight for objective in recipe.objectives}
    assert weights == {
        "cross_entropy_1": 0.1,
        "cross_entropy_2": 0.2,
        "features_teacher_to_1": 0.3,
        "predictions_teacher_to_2": 0.4,
        "predictions_2_to_1": 0.5,
        "features_1_to_2": 0.6,
    }


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ml_v1", {"teacher": "runs/t"}, "unknown key 'teacher'"),
        ("ml_v1", {"beta": [5.0, 5.0]}, "unknown key 'beta'"),
        ("kd_off_v1", {"gamma": [5.0, 5.0]}, "unknown key 'gamma'"),
        ("kd_off_v1", {"online": True}, "unknown key 'online'"),
        ("ml_v2", {"temperature": 9.0}, "unknown key 'temperature'"),
        ("kd_off_v1", {"temperature": -3.0}, "temperature"),
        ("kd_ml_v3", {"task": "segmentation", "channels": 64}, "channels=64 changes nothing"),
        ("kd_off_v2", {"backbone": "efficientnet_bo"}, "timm knows no backbone"),
        ("kd_ml_v1", {"alpha": [1.0]}, "alpha"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PreceptorError, match=message):
        resolve(name, settings)


@pytest.mark.parametrize("name", [f"{technique}_{style}" for technique, style in VARIANTS if technique != "ml"])
def test_any_teacher_may_come_from_a_run(name: str) -> None:
    network = resolve(name, {"networks.teacher.run": "runs/teacher"}).networks["teacher"]
    assert (network.run, network.trained_by, network.map_channels) == ("runs/teacher", None, None)


def test_the_teacher_is_trained_under_the_views_that_it_teaches_under() -> None:
    stage = stage_recipe(resolve("kd_off_v1"), "teacher")
    assert stage.views["teacher"].policy == resolve("kd_on_v1").views["student_1"].policy


def test_the_teachers_block_has_the_channels_of_the_students_map() -> None:
    for backbone, channels in {"resnet18": 512, "mobilenetv1_100": 1024, "test_resnet": 96}.items():
        assert resolve("kd_off_v2", {"backbone": backbone}).networks["teacher"].map_channels == channels


def test_maps_that_cannot_be_compared_are_found_before_a_teacher_is_trained(phantom_root: Path, tmp_path: Path) -> None:
    small = {**TINY, "backbone": "test_resnet", "teacher_backbone": "test_resnet", "teacher_pretrained": "none"}
    with pytest.raises(
        PreceptorError, match=r"objectives\.features_teacher_to_1: .* 96 channels, the other's 7"
    ) as known:
        train("kd_off_v2", data="phantom", root=phantom_root, out=tmp_path / "run", overrides={**small, "channels": 7})
    assert "map_channels=96" in str(known.value)
    assert not (tmp_path / "run").exists()


def test_maps_are_compared_where_both_see_the_same_places() -> None:
    apart = resolve("ml_v2", {"views.student_2.policy": "kdml"})
    with pytest.raises(PreceptorError, match="see an image in different places"):
        check_objectives(apart)
    check_objectives(resolve("ml_v1", {"views.student_2.policy": "kdml"}))


def test_an_ensemble_takes_the_largest_probability_of_each_class() -> None:
    one, two = np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]), np.array([[0.1, 0.8, 0.1], [0.5, 0.3, 0.2]])
    joint = with_ensembles({"a": one, "b": two, "c": one}, {"both": ["a", "b"], "gone": ["a", "x"]})
    assert list(joint) == ["a", "b", "c", "both"]
    assert joint["both"] == pytest.approx(np.array([[0.6, 0.8, 0.1], [0.5, 0.3, 0.6]]) / [[1.5], [1.4]])


@pytest.fixture(scope="module")
def variant(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    small = {"backbone": "test_efficientnet", "teacher_backbone": "test_resnet", "teacher_pretrained": "none"}
    return train(
        "kd_ml_v3",
        data="phantom",
        root=phantom_root,
        out=tmp_path_factory.mktemp("kdml") / "run",
        overrides={**TINY, **small, "epochs": 1, "channels": 256, "resample": "balanced"},
    )


def test_the_run_reports_students_and_their_ensemble(variant: Run) -> None:
    text = variant.metrics.networks
    assert set(text) == {"student_1", "student_2", "teacher", "ensemble"}
    parameters = {name: result.cost["parameters"] for name, result in text.items()}
    assert parameters["ensemble"] == parameters["student_1"] + parameters["student_2"]
    assert text["student_1"].test["fidelity"]["to"] == "teacher"
    assert "fidelity" not in text["teacher"].test
    table = pd.read_csv(variant.path / "predictions.csv").query("part == 'test'")
    columns = [column for column in table if column.startswith("p_")]
    of = {name: table[table["network"] == name][columns].to_numpy() for name in text}
    most = np.maximum(of["student_1"], of["student_2"])
    assert of["ensemble"] == pytest.approx(most / most.sum(1, keepdims=True), abs=1e-9)
    assert not np.allclose(of["student_1"], of["student_2"]), "the students start from different weights"


def test_the_report_says_what_the_ensemble_is_and_how_faithful_students_are(variant: Run) -> None:
    page = variant.report.read_text(encoding="utf-8")
    assert "ensemble: largest probabilities of student_1 and student_2" in page
    text = variant.metrics.networks
    for name in ("student_1", "student_2", "ensemble"):
        fidelity = text[name].test["fidelity"]
        assert f"<td>{fidelity['agreement']:.3f}</td></tr>" in page
        assert f"<strong>{name}</strong> agrees with its teacher on {fidelity['agreement'] * 100:.1f}" in page
    assert page.count("agrees with teacher</th>") == 1
    with np.load(variant.path / "layers.npz") as held:
        assert held["pairs"].tolist() == [
            ["teacher", "student_1"],
            ["teacher", "student_2"],
            ["student_1", "student_2"],
        ]
    section = page[page.index('id="layers"') : page.index('id="cost"')]
    assert section.count("<svg") == 3
    with pytest.raises(PreceptorError, match="'network' ensemble"):
        explain(variant.path, network="ensemble")


@pytest.mark.usefixtures("no_reports")
def test_one_teacher_serves_other_variants(variant: Run, phantom_root: Path, tmp_path: Path) -> None:
    """The extra block that meets the students' channels was trained with the teacher, whatever the style."""
    teacher = variant.stage("teacher")
    assert teacher.recipe.networks["teacher"].map_channels == 256
    small = {"backbone": "test_efficientnet", "epochs": 1}
    run = train(
        "kd_off_v2",
        data="phantom",
        root=phantom_root,
        out=tmp_path / "run",
        overrides={**TINY, **small, "teacher": str(teacher.path)},
    )
    assert run.finished
    assert not (run.path / "teacher").exists()


def test_other_recipes_refuse_masks_clearly() -> None:
    with pytest.raises(PreceptorError, match="recipe crckd: has no form for the task 'segmentation'"):
        resolve("crckd", {"task": "segmentation"})
    for task, label, other in (
        ("segmentation", "segmentation", "crckd"),
        ("multi_label", "several labels per image", "cirkd"),
    ):
        with pytest.raises(PreceptorError, match="attention_residual: has no form for the task") as caught:
            resolve("attention_residual", {"task": task})
        start, _, names = caught.value.expected.partition(" one of ")
        assert start == f"for {label}"
        assert {"kd", "student"} <= set(names.split(", "))
        assert not {other, "attention_residual"} & set(names.split(", "))
        assert all(resolve(name, {"task": task}).task == task for name in names.split(", "))
    mine = resolve("mean_teacher", {"task": "segmentation"}).plain()
    mine["objectives"].append({"loss": "ccd", "from": "teacher", "to": "student"})
    with pytest.raises(PreceptorError, match=r"objectives\.ccd: the loss ccd needs one class per image"):
        check_objectives(validate(mine, "mine"))
