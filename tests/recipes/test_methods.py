"""What the recipes of single methods ask of the engine: stages, strong views, full batches, several teachers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from conftest import TINY
from preceptor import train
from preceptor.data.policy import Policy
from preceptor.data.views import draw, draw_views, render
from preceptor.recipes.resolve import resolve
from preceptor.runs.dependencies import stage_recipe
from preceptor.utils.randomness import generator
from small_recipe import refused

SMALL = {**TINY, "epochs": 1, "networks.student.backbone": "test_efficientnet"}
WEAK, STRONG = Policy(h_flip=0.5, holes=1), Policy(rotate=90, noise=0.2, holes=3)


@pytest.mark.usefixtures("no_reports")
def test_a_student_starts_from_its_first_stage(phantom_root: Path, tmp_path: Path) -> None:
    """FSP: the teacher, the flow between its stages, then labels alone."""
    first = stage_recipe(resolve("fsp"), "student")
    assert (first.name, first.epochs) == ("fsp_start", 30)
    assert [term.loss for term in first.objectives] == ["fsp"]
    assert first.networks["student"].backbone == "mobilenetv2_050"
    plain = {"networks.teacher.backbone": "test_resnet", "networks.teacher.pretrained": "none"}
    teacher = train("teacher", data="phantom", root=phantom_root, out=tmp_path / "teacher", overrides={**TINY, **plain})
    changes = {**SMALL, "teacher": str(teacher.path), "start_epochs": 1}
    run = train("fsp", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=changes)
    assert set(run.metrics.networks) == {"student"}
    assert run.environment.starts["student"] == "trained first, in student/"
    assert run.stage("student").metrics.networks["student"].backbone == "test_efficientnet"


def test_labels_come_after_embeddings(phantom_root: Path, tmp_path: Path) -> None:
    """A teacher of features has no classes: it is not tested, and the student's start is its doing."""
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit", img_size=224).state_dict(), tmp_path / "vit.safetensors")
    changes = {**SMALL, "embedder": "test_vit", "weights": str(tmp_path / "vit.safetensors"), "start_epochs": 1}
    run = train("embedding_finetune", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=changes)
    stage = run.stage("student")
    assert set(stage.metrics.networks) == {"student"}
    assert stage.metrics.selected_by == "validation/student/last"
    assert stage.report.is_file()
    assert np.isfinite(stage.history["loss/embedding_kd"]).all()


def test_an_assistant_stands_between() -> None:
    recipe = resolve("takd", {"teacher": "runs/teacher", "temperature": 3.0})
    link = stage_recipe(recipe, "assistant")
    assert link.networks["student"].backbone == "mobilenetv2_075"
    assert link.networks["teacher"].run == "runs/teacher"
    assert [term.settings.get("temperature") for term in (*link.objectives, *recipe.objectives)] == [None, 3.0] * 2
    free = stage_recipe(resolve("takd"), "assistant")
    assert stage_recipe(free, "teacher").networks["teacher"].backbone == "mobilenetv2_100"


def test_several_teachers_count_alike() -> None:
    recipe = resolve("multi_teacher", {"teachers": ["runs/a", "runs/b", "runs/c"]})
    assert recipe.objectives[-1].sources == pytest.approx({"teacher_1": 1 / 3, "teacher_2": 1 / 3, "teacher_3": 1 / 3})
    assert [network.run for network in recipe.networks.values()][:3] == ["runs/a", "runs/b", "runs/c"]
    refused(lambda: resolve("multi_teacher", {"teachers": ["runs/a"]}), "teachers")
    weighed = resolve("multi_teacher", {"objectives.kl.from": {"teacher_1": 0.7, "teacher_2": 0.3}})
    assert weighed.objectives[-1].sources == {"teacher_1": 0.7, "teacher_2": 0.3}


def test_strong_views_are_drawn_from_their_own_policy() -> None:
    both = draw_views(WEAK, 40, ["h_flip"], generator(0), STRONG)
    weak = draw(WEAK, 40, generator(0))
    np.testing.assert_array_equal(both.matrices[:40], weak.matrices)
    assert not both.warped[:40].any()
    assert both.warped[40:].all()
    assert (both.noise[:40] == 0).all()
    assert (both.noise[40:] > 0).all()
    images = torch.full((80, 3, 32, 32), 100, dtype=torch.uint8)
    images[:, :, :16] = 200
    assert torch.equal(render(images, both)[0][:40], render(images[:40], weak)[0])
    view = resolve("mlld").views["student"]
    assert (view.policy, view.extra_policy) == ("dermoscopy", "strong")
    refused(lambda: resolve("kd", {"views.student.extra_policy": "strong"}), "extra_transforms")


@pytest.mark.usefixtures("no_reports")
def test_semckd_sees_full_batches_alone(phantom_root: Path, tmp_path: Path) -> None:
    changes = {**SMALL, "networks.teacher.backbone": "test_resnet", "networks.teacher.pretrained": "none"}
    run = train(
        "semckd", data="phantom", root=phantom_root, out=tmp_path / "run", overrides={**changes, "batch_size": 20}
    )
    assert run.metrics.parts["train"] % 20, "a last batch was smaller"
    assert np.isfinite(run.history["loss/semckd"]).all()
