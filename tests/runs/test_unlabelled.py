"""Learning from images without a label, and a second stage on the labelled ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import preceptor
from conftest import TINY, without_reports
from preceptor import train
from preceptor.recipes.resolve import resolve
from preceptor.runs.data import Data
from preceptor.runs.directory import Run
from preceptor.runs.leakage import refuse_leak
from preceptor.training.checks import check_objectives
from preceptor.utils.errors import PreceptorError
from small_recipe import refused

SMALL = {**TINY, "networks.student.backbone": "test_efficientnet", "epochs": 1}


@pytest.fixture(scope="module")
def partly(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Data:
    """The phantom as a table, every third photograph without its label."""
    root = tmp_path_factory.mktemp("partly")
    (file,) = phantom_root.glob("*.csv")
    table = pd.read_csv(file)[["image_id", "lesion_id", "dx"]]
    table["image"] = [str(phantom_root / "images" / f"{name}.jpg") for name in table["image_id"]]
    table.loc[table.index % 3 == 0, "dx"] = ""
    table[["image", "lesion_id", "dx"]].to_csv(root / "table.csv", index=False)
    options = {"image": "image", "label": "dx", "group": "lesion_id", "unlabelled": "true"}
    return Data("table", root / "table.csv", options)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    save_file(timm.create_model("test_vit", img_size=224).state_dict(), file)
    return {"embedder": "test_vit", "weights": str(file)}


@pytest.fixture(scope="module")
def probe(partly: Data, embedder: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    changes = {**SMALL, **embedder, "start_epochs": 2, "epochs": 2}
    options = {f"data.{key}": value for key, value in partly.options.items()}
    out = tmp_path_factory.mktemp("probe") / "run"
    with without_reports():
        return train("embedding_probe", data="table", root=partly.root, out=out, overrides={**changes, **options})


def test_the_first_stage_sees_all_images_of_nobody_who_is_judged(probe: Run) -> None:
    stage = probe.stage("student")
    groups = {name: set(rows["group"]) for name, rows in stage.split.groupby("part")}
    assert not groups["unlabelled"] & (groups["test"] | groups["validation"])
    counts = stage.split["part"].value_counts()
    assert stage.recipe.unlabelled
    assert {part: stage.metrics.parts[part] for part in ("train", "unlabelled")} == {
        part: counts[part] for part in ("train", "unlabelled")
    }
    assert not probe.recipe.unlabelled
    assert probe.metrics.parts["train"] == counts["train"]
    assert probe.split.equals(stage.split)


def test_a_run_with_a_teacher_of_features_is_measured_again(probe: Run) -> None:
    """The teacher predicts nothing, so that there is nothing to measure of it."""
    stage = probe.stage("student")
    result = preceptor.evaluate(stage.path, progress=False)
    assert set(result.metrics) == {"student"}
    assert result.metrics["student"]["nll"] == pytest.approx(stage.metrics.networks["student"].test["nll"], rel=1e-5)
    assert [each.backbone for each in preceptor.profile(stage.path, batch=(1,), repeats=1)] == ["test_efficientnet"]


def test_a_probe_changes_the_classifier_alone(probe: Run) -> None:
    before, after = (load_file(run.path / "student.safetensors") for run in (probe.stage("student"), probe))
    changed = {name.rpartition(".")[0] for name in after if not torch.equal(before[name], after[name])}
    assert changed == {"backbone.classifier"}
    assert probe.metrics.networks["student"].role == "classifier trained"
    assert probe.history["validation/student/nll"].nunique() == 2, "it is measured after every epoch"
    assert np.isfinite(probe.metrics.networks["student"].test["balanced_accuracy"])


def test_pretrained_weights_can_be_probed() -> None:
    recipe = resolve("student", {"networks.student.frozen": "features", "networks.student.pretrained": "imagenet"})
    assert recipe.networks["student"].predicts_anew
    assert not recipe.networks["student"].gives_features
    refused(lambda: resolve("student", {"networks.student.frozen": "features"}), "must come from somewhere")
    lost = resolve("at", {"networks.student.frozen": "features", "networks.student.pretrained": "imagenet"})
    with pytest.raises(PreceptorError, match=r"objectives\.at: 'student' trains its classifier alone"):
        check_objectives(lost)


def test_a_student_of_patients_who_are_judged_here_is_a_leak(probe: Run) -> None:
    """Those unlabelled images of theirs are the only ones that the two splits share."""
    file, split = probe.stage("student").network_file("student"), probe.split.copy()
    refuse_leak("networks.student.run", file, probe.data, split)
    lesion = split.loc[split["part"] == "unlabelled", "group"].iloc[0]
    there = split["group"] == lesion
    photographs = int((there & (split["part"] == "unlabelled")).sum())
    split.loc[there & (split["part"] == "train"), "part"] = "unused"
    split = pd.concat([split, pd.DataFrame([{"id": "new", "group": lesion, "part": "test", "label": "mel"}])])
    with pytest.raises(PreceptorError, match=f"was trained on {photographs} images of this run's test part"):
        refuse_leak("networks.student.run", file, probe.data, split)


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        ("kd", {"unlabelled": True}, "objectives.cross_entropy: the loss cross_entropy needs the label of each image"),
        ("at", {"unlabelled": True, "task": "segmentation"}, "unlabelled: every image of a segmentation has a mask"),
        ("embedding_kd", {"protocol": "paper"}, "unlabelled: protocol: paper keeps no patient apart"),
        ("embedding_kd", {"resample": "balanced"}, "unlabelled: resample needs classes"),
        ("embedding_kd", {"task": "segmentation"}, "segmentation has no form of label-free distillation"),
    ],
)
def test_what_needs_labels_is_refused(recipe: str, changes: dict[str, object], words: str) -> None:
    refused(lambda: check_objectives(resolve(recipe, changes)), words)
