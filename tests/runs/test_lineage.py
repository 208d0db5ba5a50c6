"""What a network has learned from decides what reports call it and compare it with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from preceptor.recipe import Recipe
from preceptor.recipes.resolve import resolve, to_yaml
from preceptor.report.entries import entries_of, load_run, load_runs
from preceptor.report.tables import differences
from preceptor.runs.directory import Run
from preceptor.runs.lineage import is_distilled
from tests.fake_run import ALONE, TAUGHT, Taught, write_fake_run


def _run_of(recipe: Recipe, folder: Path) -> Run:
    folder.mkdir()
    (folder / "recipe.yaml").write_text(to_yaml(recipe))
    return Run(folder)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("student", False),
        ("kd", True),
        ("embedding_kd", True),  # its only network with classes learns from a teacher of features
        ("embedding_finetune", True),  # from labels alone, and starts from embedding_kd
        ("embedding_probe", True),
        ("fsp", True),  # starts from fsp_start
        ("mean_teacher", True),
    ],
)
def test_a_student_is_distilled_by_an_objective_or_in_the_run_it_starts_from(
    recipe: str, expected: bool, tmp_path: Path
) -> None:
    assert is_distilled(_run_of(resolve(recipe, []), tmp_path / "run"), "student") is expected


def test_a_start_in_another_run_counts_as_what_that_run_was(tmp_path: Path) -> None:
    for name, run in (("student", ALONE), ("kd", TAUGHT)):
        (write_fake_run(tmp_path / name, run) / "student.safetensors").touch()
    results = {}
    for name in ("student", "kd", "gone"):
        start = ["networks.student.backbone=null", f"networks.student.run={tmp_path / name}"]
        results[name] = is_distilled(_run_of(resolve("student", start), tmp_path / f"on-{name}"), "student")
    assert results == {"student": False, "kd": True, "gone": None}


def _taught_by_features(folder: Path) -> Path:
    """A run of ``embedding_kd``: its teacher has no classes, so that the student is its only network with figures."""
    path = write_fake_run(folder, replace(ALONE, recipe="embedding_kd", networks={"student": Taught(skill=1.0)}))
    recipe = yaml.safe_load((path / "recipe.yaml").read_text())
    recipe["networks"]["teacher"] = {"backbone": "vit_small_patch14_dinov2", "pretrained": "imagenet", "frozen": True}
    recipe["views"]["teacher"] = "plain"
    recipe["objectives"] = [{"loss": "embedding_kd", "from": "teacher", "to": "student"}]
    (path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return path


def test_a_student_of_features_is_no_baseline_of_others(tmp_path: Path) -> None:
    paths = [
        write_fake_run(tmp_path / "student", ALONE),
        write_fake_run(tmp_path / "kd", TAUGHT),
        _taught_by_features(tmp_path / "features"),
    ]
    compared = [(item.of.label, item.less.label) for item in differences(entries_of(load_runs(paths)))]
    assert compared == [
        ("kd · student", "student"),
        ("kd · student", "kd · teacher"),
        ("features · student", "student"),
    ]


def test_curves_are_of_the_metric_that_chose_the_epoch_or_of_the_headline(tmp_path: Path) -> None:
    """``select.metric: last`` names no metric."""
    path = write_fake_run(tmp_path / "run", ALONE)
    record = json.loads((path / "metrics.json").read_text())
    for chosen, shown in (("nll", "nll"), ("last", "balanced_accuracy")):
        (path / "metrics.json").write_text(json.dumps({**record, "selected_by": f"validation/student/{chosen}"}))
        assert load_run(path).curve_metric == shown


def test_networks_of_one_run_that_learn_from_labels_alone_are_each_alone(tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "run", replace(ALONE, networks={"one": Taught(), "two": Taught()}))
    recipe = yaml.safe_load((path / "recipe.yaml").read_text())
    recipe["objectives"] = [{"loss": "cross_entropy", "name": name, "of": name} for name in ("one", "two")]
    (path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert [entry.kind for entry in entries_of([load_run(path)])] == ["alone", "alone"]
