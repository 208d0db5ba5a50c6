"""Which word holds where a plan, its rows, ``quick`` and the command line say the same, and which is refused."""

from __future__ import annotations

from typing import Any

import pytest

from preceptor.recipes.resolve import resolve
from preceptor.study.overrides import CommandLine, resolve_plan
from preceptor.study.plan import read_plan, validate
from preceptor.utils.errors import PreceptorError
from small_study import PLAN, plan

EXACT = {"networks.student.backbone": "test_efficientnet"}


def settled(overrides: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The rows' settings; ``teacher`` is that of the plan."""
    result = resolve_plan(plan(**changes), CommandLine(quick="quick" in changes, overrides=overrides))
    teacher = {} if result.teacher is None else {"teacher": result.teacher.set}
    return {row.name: row.set for row in result.rows} | teacher


@pytest.mark.parametrize(
    ("settings", "where", "remedy"),
    [
        ({"backbone": "resnet18"}, "row alone", "networks.student.backbone=resnet18"),
        ({"pretrained": "imagenet"}, "row alone", "networks.student.pretrained=imagenet"),
        ({"preset": "kdml", "backbone": "resnet50"}, "row alone", "networks.student.backbone=resnet50"),
    ],
)
def test_a_word_for_all_rows_that_one_of_them_would_not_hear_is_refused(
    settings: dict[str, Any], where: str, remedy: str
) -> None:
    """Else the baseline would be of another network than what it is compared with."""
    rows = [{"name": "alone", "recipe": "student", "set": EXACT}, PLAN["rows"][1]]
    with pytest.raises(PreceptorError) as caught:
        resolve_plan(plan(rows=rows), CommandLine(overrides=settings))
    assert caught.value.what.startswith(f"{where}: ")
    assert caught.value.remedy == f"set {remedy} instead"


def test_the_remedy_reaches_every_row() -> None:
    key = "networks.student.backbone"
    for row in resolve_plan(read_plan("crckd_table1"), CommandLine(overrides={key: "resnet18"})).rows:
        assert row.set[key] == "resnet18"


def test_a_rows_own_word_holds_over_the_plans() -> None:
    rows = [{"name": "alone", "recipe": "student", "set": EXACT}, PLAN["rows"][1]]
    result = settled({}, rows=rows, set={"backbone": "test_resnet", "pretrained": "none"})
    assert result["alone"].items() >= EXACT.items()
    same = settled({"backbone": EXACT["networks.student.backbone"]}, rows=rows)  # and agrees with it
    assert same["alone"].items() >= EXACT.items()


def test_what_quick_says_of_the_teacher_holds_over_what_it_says_of_all() -> None:
    teacher = {"recipe": "teacher", "set": {"epochs": 30}}
    quick = {"set": {"epochs": 8}, "teacher": {"epochs": 20}}
    assert settled({}, teacher=teacher, quick=quick)["teacher"]["epochs"] == 20
    assert settled({"epochs": 2}, teacher=teacher, quick=quick)["teacher"]["epochs"] == 2
    assert settled({}, teacher=teacher, quick=quick)["alone"]["epochs"] == 8


def test_a_word_about_what_the_plans_teacher_replaces_is_refused() -> None:
    rows = [*PLAN["rows"], {"name": "KD off", "recipe": "kd_off_v1"}]
    resolve_plan(plan(rows=rows), CommandLine(overrides={"teacher_backbone": "test_resnet"}))
    with pytest.raises(PreceptorError, match="teacher_backbone: changes nothing in any row") as caught:
        resolve_plan(
            plan(rows=rows, teacher={"recipe": "teacher"}), CommandLine(overrides={"teacher_backbone": "test_resnet"})
        )
    assert "networks.teacher.backbone" in caught.value.remedy
    with pytest.raises(PreceptorError, match=r"unknown key 'epoch'\. Did you mean 'epochs'"):
        resolve_plan(plan(rows=rows, teacher={"recipe": "teacher"}), CommandLine(overrides={"epoch": 3}))


def test_a_baseline_that_nothing_is_paired_with_is_refused() -> None:
    rows = [*PLAN["rows"], {"name": "T", "teacher": True}]
    text = {"rows": rows, "teacher": {"recipe": "teacher"}, "baseline": "T", "seeds": [0, 1]}
    plan(**text, teacher_seed=1)
    with pytest.raises(PreceptorError, match="no other row has that seed"):
        plan(**text, teacher_seed=7)


def test_settings_that_are_no_mapping_are_named() -> None:
    with pytest.raises(PreceptorError, match="'set'"):
        validate({**PLAN, "folds": 5, "set": [1]}, "plan")


def test_a_study_wide_setting_skips_rows_whose_recipe_has_no_such_key() -> None:
    """Also where the section exists and only its leaf does not, as a momentum beside Adam."""
    rows = [PLAN["rows"][0], {**PLAN["rows"][1], "set": {"optimiser.name": "sgd"}}]
    result = settled({}, rows=rows, set={**PLAN["set"], "optimiser.momentum": 0.5, "objectives.kl.weight": 2.0})
    assert result["KD"]["optimiser.momentum"] == 0.5
    assert result["KD"]["objectives.kl.weight"] == 2.0
    assert not {"optimiser.momentum", "objectives.kl.weight"} & result["alone"].keys()
    with pytest.raises(PreceptorError, match=r"unknown key 'optimiser\.momentun'"):
        settled({}, rows=rows, set={"optimiser.momentun": 0.5})


@pytest.mark.parametrize(
    ("task", "columns"),
    [
        ("classification", ["balanced_accuracy", "accuracy", "macro_f1", "macro_auc"]),
        ("segmentation", ["iou_pooled", "dice_pooled", "iou", "dice"]),
    ],
)
def test_a_plan_without_layout_shows_the_main_metrics_of_its_task(task: str, columns: list[str]) -> None:
    changes = {"set": {**PLAN["set"], "task": task}, "rows": [{"name": "alone", "recipe": "student"}]}
    whole = {key: value for key, value in PLAN.items() if key != "layout"}
    settings = {key: value for key, value in changes["set"].items() if "teacher" not in key}
    result = resolve_plan(validate({**whole, **changes, "set": settings}, "plan"))
    assert list(result.columns) == columns


def test_some_rows_can_be_asked_for() -> None:
    result = resolve_plan(plan(), CommandLine(overrides={"rows": ["KD"], "baseline": "KD"}))
    assert [row.name for row in result.rows] == ["KD"]
    whole = {row.name: row for row in resolve_plan(plan()).rows}
    assert result.rows[0] == whole["KD"]
    assert resolve_plan(plan(), CommandLine(overrides={"rows": "KD", "baseline": "KD"})) == result
    with pytest.raises(PreceptorError, match=r"has no row 'KDD'\. Did you mean 'KD'"):
        resolve_plan(plan(), CommandLine(overrides={"rows": ["KDD"]}))
    with pytest.raises(PreceptorError, match="baseline: there is no row 'alone'"):
        resolve_plan(plan(), CommandLine(overrides={"rows": ["KD"]}))
    with pytest.raises(PreceptorError, match="some of the rows of plan"):
        resolve_plan(plan(), CommandLine(overrides={"rows": []}))


@pytest.mark.parametrize(
    "overrides",
    [
        {"precision": {"teacher": "bf16+folded", "student": "bf16"}},
        {"precision.teacher": "bf16+folded", "precision.student": "bf16"},
    ],
)
def test_modes_of_networks_reach_the_rows_that_have_them(overrides: dict[str, Any]) -> None:
    teacher = {"recipe": "teacher", "set": {"networks.teacher.backbone": "test_resnet"}}
    recipes = {
        row.name: resolve(str(row.recipe), row.set)
        for row in resolve_plan(plan(teacher=teacher), CommandLine(overrides=overrides)).rows
    }
    assert {name: str(recipe.mode("student")) for name, recipe in recipes.items()} == {"alone": "bf16", "KD": "bf16"}
    assert str(recipes["KD"].mode("teacher")) == "bf16+folded"


def test_a_mode_of_a_network_that_no_row_has_is_refused() -> None:
    with pytest.raises(PreceptorError, match="there is no network 'tutor'"):
        settled({"precision.tutor": "bf16"})
