"""What a recipe may say, how ``key=value`` changes it, and that every mistake is one error that names the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from preceptor.recipe import NetworkConfig, Recipe
from preceptor.recipes.registry import RECIPES
from preceptor.recipes.resolve import resolve, to_yaml, validate
from preceptor.runs.dependencies import stage_recipe
from small_recipe import CE, plain, refused, written

# --- shipped recipes -----


def test_the_four_recipes_of_the_walking_skeleton_are_there() -> None:
    assert {"teacher", "student", "kd", "mean_teacher"} <= set(RECIPES)


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_shipped_recipe_survives_its_yaml(name: str, tmp_path: Path) -> None:
    recipe = resolve(name)
    assert recipe.name == name
    assert recipe.paper
    assert resolve(written(tmp_path, to_yaml(recipe))) == recipe
    assert validate(recipe.plain(), "again") == recipe


def test_a_recipe_that_uses_every_form_survives_its_yaml(tmp_path: Path) -> None:
    recipe = resolve(
        "kd",
        [
            "views.student={policy: {rotate: 10.0, scale: [0.5, 2.0]}}",
            "objectives.kl.weight={steps: {0: 0.1, 30: 0.01}}",
            "objectives.cross_entropy.weight={ramp: linear, epochs: 3, to: 2.0, start: 1}",
            "objectives.cross_entropy.class_weights=[1.0, 2.0]",
            "optimiser.name=sgd",
            "schedule.name=plateau",
            "early_stop=4",
            "networks.teacher.trained_by={recipe: teacher, set: {epochs: 7}}",
        ],
    )
    again = resolve(written(tmp_path, to_yaml(recipe)))
    assert again == recipe
    assert again.networks["teacher"].trained_by == recipe.networks["teacher"].trained_by
    policy = again.views["student"].resolved()
    assert (policy.rotate, policy.scale) == (10.0, (0.5, 2.0))


def test_yaml_holds_only_what_yaml_has() -> None:
    def walk(value: Any) -> None:
        assert isinstance(value, (dict, list, str, int, float, bool, type(None)))
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(item)

    walk(resolve("mean_teacher").plain())


def test_objectives_read_as_in_the_paper() -> None:
    text = to_yaml(resolve("mean_teacher"))
    assert "{loss: kl, from: teacher, to: student, weight: {ramp: gaussian, epochs: 30}}" in text
    assert "{mean_of: student, decay: 0.99" in text


def test_an_unknown_recipe_gets_a_suggestion(tmp_path: Path) -> None:
    refused(lambda: resolve("mean_teachr"), "Did you mean 'mean_teacher'", "kd")
    refused(lambda: resolve(str(tmp_path / "none.yaml")), "none.yaml", "no such recipe file")


@pytest.mark.parametrize("text", ["", "3", "word", "[1, 2]", "a: [1", "epochs: 3\nepochs: 4", "3: 4"])
def test_a_file_that_holds_no_recipe_is_named(text: str, tmp_path: Path) -> None:
    refused(lambda: resolve(written(tmp_path, text)), "mine.yaml")


def test_a_binary_file_is_no_recipe(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(b"\xff\xfe\x00\x01")
    refused(lambda: resolve(str(file)), "mine.yaml", "is not a recipe")


WRONG_RECIPES = [
    ({"views": {}}, ["views", "'student'"]),
    ({"views": {"student": "plain", "techer": "plain"}}, ["views.techer"]),
    ({"views": {"student": {"same_as": "student"}}}, ["views.student.same_as"]),
    ({"views": {"student": {"same_as": "studnt"}}}, ["views.student.same_as", "Did you mean 'student'"]),
    ({"views": {"student": {}}}, ["views.student", "policy or same_as"]),
    ({"objectives": []}, ["nothing trains student"]),
    ({"objectives": dict(CE)}, ["'objectives'", "list"]),
    ({"objectives": ["cross_entropy"]}, ["'objectives.0' is 'cross_entropy'"]),
    ({"objectives": [CE, CE]}, ["cross_entropy occurs twice", "name"]),
    ({"objectives": [{"of": "student"}]}, ["objectives.0.loss", "missing"]),
    ({"objectives": [{"loss": "kl", "from": "student"}]}, ["objectives.kl", "needs of"]),
    ({"objectives": [{"loss": "kl", "from": "x", "of": "student"}]}, ["objectives.kl"]),
    ({"objectives": [{**CE, "name": "a.b"}]}, ["a.b"]),
    ({"networks": {"stu dent": {"backbone": "test_resnet"}}}, ["stu dent"]),
    ({"networks": {"student": {}}}, ["networks.student", "backbone"]),
    ({"optimiser": {"lr": 0.1}}, ["optimiser", "name"]),
    ({"protocol": "paper", "early_stop": 3}, ["protocol", "early_stop"]),
    ({"protocol": "paper", "schedule": {"name": "plateau"}}, ["protocol", "plateau"]),
    ({"early_stop": 0}, ["early_stop"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words"), WRONG_RECIPES, ids=[" ".join(words) for _, words in WRONG_RECIPES])
def test_a_wrong_recipe_is_one_error_that_names_the_key(changes: dict[str, Any], words: list[str]) -> None:
    validate(plain(), "mine.yaml")
    refused(lambda: validate(plain(**changes), "mine.yaml"), "mine.yaml", *words)


def test_a_missing_key_is_named() -> None:
    for key in ("name", "networks", "views", "objectives"):
        data = {name: value for name, value in plain().items() if name != key}
        refused(lambda data=data: validate(data, "mine.yaml"), f"'{key}' is missing")


# --- where a network comes from -----


@pytest.mark.parametrize(
    "origin",
    [
        {"backbone": "a"},
        {"backbone": "a", "pretrained": "imagenet", "projection": 8, "dropout": 0.1},
        {"run": "dir"},
        {"run": "dir", "frozen": True},
        {"run": "dir", "backbone": "a"},
        {"backbone": "a", "frozen": True, "trained_by": "teacher"},
        {"mean_of": "student"},
        {"mean_of": "student", "decay": 0.9, "batch_norm": "batch"},
    ],
)
def test_an_origin_that_makes_sense_is_taken(origin: dict[str, Any]) -> None:
    assert NetworkConfig.model_validate(origin).model_dump() == origin


@pytest.mark.parametrize(
    ("origin", "named"),
    [
        ({}, "backbone"),
        ({"mean_of": "s", "backbone": "a"}, "backbone"),
        ({"mean_of": "s", "run": "dir"}, "run"),
        ({"mean_of": "s", "frozen": True}, "frozen"),
        ({"mean_of": "s", "projection": 8}, "projection"),
        ({"mean_of": "s", "pretrained": "imagenet"}, "pretrained"),
        ({"mean_of": "s", "dropout": 0.5}, "dropout"),
        ({"mean_of": "s", "trained_by": "teacher"}, "trained_by"),
        ({"backbone": "a", "decay": 0.9}, "decay"),
        ({"backbone": "a", "batch_norm": "batch"}, "batch_norm"),
        ({"backbone": "a", "frozen": True}, "frozen"),
        ({"backbone": "a", "run": "dir", "pretrained": "imagenet"}, "pretrained"),
        ({"run": "dir", "trained_by": "teacher"}, "trained_by"),
        ({"trained_by": "teacher"}, "backbone"),
        ({"mean_of": "s", "decay": 1.0}, "less than 1"),
        ({"backbone": "a", "batch_norm": "frozen"}, "batch_norm"),
    ],
)
def test_an_origin_that_contradicts_itself_is_refused(origin: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        NetworkConfig.model_validate(origin)


@pytest.mark.parametrize("of", ["nobody", "average", "frozen"])
def test_a_mean_is_of_a_network_that_learns(of: str) -> None:
    networks = {
        "student": {"backbone": "test_resnet"},
        "frozen": {"run": "dir", "frozen": True},
        "average": {"mean_of": of},
    }
    data = plain(networks=networks, views=dict.fromkeys(networks, "plain"))
    refused(lambda: validate(data, "x"), "networks.average.mean_of", of)
    networks["average"]["mean_of"] = "student"
    assert validate(data, "x").networks["average"].mean_of == "student"


# --- the run before -----


def test_the_run_before_inherits_budget_data_and_network() -> None:
    recipe = resolve(
        "kd",
        ["epochs=3", "seed=4", "batch_size=16", "image_size=64", "protocol=paper", "split.folds=3", "split.seed=9",
         "networks.teacher.backbone=resnet18", "networks.teacher.pretrained=w.safetensors",
         "networks.teacher.dropout=0.2", "precision='32'"],
    )  # fmt: skip
    stage = stage_recipe(recipe, "teacher")
    for key in ("epochs", "seed", "batch_size", "image_size", "protocol", "precision", "split"):
        assert getattr(stage, key) == getattr(recipe, key), key
    assert stage.networks == {"teacher": NetworkConfig(backbone="resnet18", pretrained="w.safetensors", dropout=0.2)}
    assert stage.optimiser == resolve("teacher").optimiser


def test_the_run_before_has_the_last_word_on_itself() -> None:
    recipe = resolve(
        "kd", ["networks.teacher.trained_by={recipe: teacher, set: {epochs: 7, optimiser.lr: 0.5, backbone: vgg11}}"]
    )
    stage = stage_recipe(recipe, "teacher")
    assert (stage.epochs, stage.optimiser.lr) == (7, 0.5)
    assert stage.networks["teacher"].backbone == "vgg11"  # the recipe's argument, over the network's own backbone


def test_the_network_of_the_run_before_may_have_another_name() -> None:
    stage = stage_recipe(resolve("kd", ["networks.teacher.trained_by=student"]), "teacher")
    assert stage.networks == {"student": NetworkConfig(backbone="mobilenetv2_100", pretrained="imagenet")}


def test_a_head_that_the_run_before_does_not_train_is_refused() -> None:
    recipe = resolve("kd", ["networks.teacher.projection=16"])
    refused(lambda: stage_recipe(recipe, "teacher"), "networks.teacher.projection", "sskd_head")


def test_what_is_wrong_with_the_run_before_is_named() -> None:
    def stage(source: str) -> Recipe:
        return stage_recipe(resolve("kd", [f"networks.teacher.trained_by={source}"]), "teacher")

    refused(lambda: stage("teachr"), "Did you mean 'teacher'")
    refused(lambda: stage("{recipe: teacher, set: {epoch: 7}}"), "'epoch'", "Did you mean 'epochs'")


def test_a_run_before_that_leaves_several_networks_and_none_of_this_name_is_refused() -> None:
    data = resolve("kd", ["networks.teacher.trained_by=mean_teacher"]).plain()
    data["networks"]["tutor"] = data["networks"].pop("teacher")
    data["views"]["tutor"] = data["views"].pop("teacher")
    data["objectives"][1]["from"] = "tutor"
    refused(lambda: stage_recipe(validate(data, "x"), "tutor"), "networks.tutor.trained_by", "mean_teacher")
