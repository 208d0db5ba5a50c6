"""What a recipe may say, how ``key=value`` changes it, and that every mistake is one error that names the key."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from preceptor.data.policy import POLICIES
from preceptor.errors import PreceptorError
from preceptor.recipe import Adam, Network, Plateau, Ramp, Recipe, Steps, View
from preceptor.recipes.registry import RECIPES
from preceptor.recipes.resolve import parse_override, resolve, to_yaml, validate
from preceptor.training.prepare import stage_recipe
from preceptor.training.weights import weight_at

CE = {"loss": "cross_entropy", "of": "student"}


def plain(**changes: Any) -> dict[str, Any]:
    """The smallest whole recipe, as YAML would hold it."""
    smallest = {
        "name": "small",
        "networks": {"student": {"backbone": "test_resnet"}},
        "views": {"student": "plain"},
        "objectives": [dict(CE)],
    }
    return {**smallest, **changes}


def written(tmp_path: Path, text: str) -> str:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return str(file)


def refused(call: Any, *said: str) -> PreceptorError:
    """The error of ``call``, which says all of ``said`` in few lines."""
    with pytest.raises(PreceptorError) as caught:
        call()
    text = str(caught.value)
    for part in said:
        assert part in text, text
    assert "Traceback" not in text
    assert "pydantic" not in text
    return caught.value


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
        for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(one)

    walk(resolve("mean_teacher").plain())


def test_objectives_read_as_in_the_paper() -> None:
    text = to_yaml(resolve("mean_teacher"))
    assert "{loss: kl, from: teacher, to: student, weight: {ramp: gaussian, epochs: 30}}" in text
    assert "{mean_of: student, decay: 0.99" in text


# --- overrides -----


@pytest.mark.parametrize(
    ("override", "value"),
    [("a=3", 3), ("a=1e-4", 1e-4), ("a=0.5", 0.5), ("a=x", "x"), ("a=null", None), ("a=true", True), ("a='32'", "32"),
     ("a=[1,2]", [1, 2]), ("a={b: 1}", {"b": 1}), ("a=b=c", "b=c")],
)  # fmt: skip
def test_a_value_is_what_yaml_makes_of_it(override: str, value: object) -> None:
    key, found = parse_override(override)
    assert key == "a"
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("override", ["epochs", "=3", "epochs=[1", "epochs=${nothing}"])
def test_what_is_no_override_is_refused(override: str) -> None:
    refused(lambda: parse_override(override), override.split("=")[0] or "=3", "expected")


def test_an_empty_value_is_refused_rather_than_read_as_null() -> None:
    """``networks.teacher.run=$DIR`` with DIR unset must not quietly train another teacher."""
    refused(lambda: resolve("kd", ["networks.teacher.run="]), "networks.teacher.run")


def test_overrides_reach_every_section() -> None:
    recipe = resolve(
        "kd",
        ["epochs=3", "optimiser.lr=1e-4", "split.folds=4", "networks.student.backbone=resnet18", "views.teacher=plain",
         "objectives.kl.weight=0.3", "objectives.kl.temperature=2", "select.metric=accuracy", "schedule.warmup=0.1"],
    )  # fmt: skip
    assert recipe.epochs == 3
    assert recipe.optimiser.lr == 1e-4
    assert recipe.split.folds == 4
    assert recipe.networks["student"].backbone == "resnet18"
    assert recipe.views["teacher"] == View(policy="plain")
    kl = recipe.objectives[1]
    assert (kl.weight, kl.settings["temperature"]) == (0.3, 2)
    assert recipe.select.metric == "accuracy"
    untouched = resolve("kd")
    assert recipe.networks["teacher"] == untouched.networks["teacher"]
    assert recipe.objectives[0] == untouched.objectives[0]


def test_a_recipes_own_arguments_are_overrides() -> None:
    ce, kl = resolve("kd", {"temperature": 2.0, "balance": 0.25}).objectives
    assert (ce.weight, kl.weight, kl.settings["temperature"]) == (0.75, 0.25, 2.0)
    refused(lambda: resolve("kd", ["temperature=hot"]), "'temperature' is 'hot'")
    refused(lambda: resolve("kd", ["temprature=4"]), "'temprature'", "Did you mean 'temperature'")


def test_another_kind_of_optimiser_starts_from_its_own_defaults() -> None:
    recipe = resolve("kd", ["optimiser.momentum=0.5", "optimiser.name=sgd"])
    assert recipe.optimiser.model_dump() == {
        "name": "sgd", "lr": 0.01, "momentum": 0.5, "nesterov": False, "weight_decay": 0.0,
    }  # fmt: skip
    assert isinstance(resolve("kd", ["schedule.name=plateau"]).schedule, Plateau)
    same = resolve("kd", ["optimiser.name=adam", "optimiser.weight_decay=0.5"]).optimiser
    assert same == Adam(lr=1e-3, weight_decay=0.5)


def test_a_file_that_leaves_a_section_out_takes_overrides_of_it(tmp_path: Path) -> None:
    file = written(tmp_path, to_yaml(validate(plain(), "x")).split("optimiser:")[0])
    assert resolve(file, ["optimiser.lr=0.5"]).optimiser == Adam(lr=0.5)


def test_one_setting_of_a_named_policy_changes_only_that() -> None:
    policy = resolve("kd", ["views.student.policy.rotate=20"]).views["student"].resolved()
    assert policy == POLICIES["dermoscopy"].model_copy(update={"rotate": 20.0})


def test_one_setting_of_the_run_before_keeps_its_recipe() -> None:
    trained_by = resolve("kd", ["networks.teacher.trained_by.set.epochs=3"]).networks["teacher"].trained_by
    assert trained_by is not None
    assert (trained_by.recipe, trained_by.set) == ("teacher", {"epochs": 3})


def test_an_objective_takes_a_new_name() -> None:
    assert [one.name for one in resolve("kd", ["objectives.kl.name=distil"]).objectives] == ["cross_entropy", "distil"]


@pytest.mark.parametrize("section", ["networks", "views", "objectives"])
def test_overrides_make_nothing_new(section: str) -> None:
    leaf = {"networks": "backbone=resnet18", "views": "policy=plain", "objectives": "loss=kl"}[section]
    refused(lambda: resolve("kd", [f"{section}.fresh.{leaf}"]), f"{section}.fresh", "one of")
    refused(lambda: resolve("kd", [f"{section}=3"]), repr(section))


def test_a_mistyped_network_gets_a_suggestion() -> None:
    refused(lambda: resolve("kd", ["networks.studnt.backbone=resnet18"]), "networks.studnt", "Did you mean 'student'")


def test_a_run_replaces_what_said_where_a_network_came_from() -> None:
    teacher = resolve("kd", ["networks.teacher.run=/some/run"]).networks["teacher"]
    assert teacher == Network(run="/some/run", frozen=True)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_backbone_beside_a_run_is_kept_as_a_check_in_either_order(turn: int) -> None:
    overrides = ["networks.teacher.run=/some/run", "networks.teacher.backbone=resnet18"]
    teacher = resolve("kd", overrides[::turn]).networks["teacher"]
    assert (teacher.run, teacher.backbone, teacher.trained_by) == ("/some/run", "resnet18", None)


def test_a_view_with_a_new_origin_drops_the_old() -> None:
    assert resolve("kd", ["views.teacher.policy=plain"]).views["teacher"] == View(policy="plain")
    assert resolve("mean_teacher", ["views.teacher.same_as=student"]).views["teacher"] == View(same_as="student")


# --- one error for every mistake -----

WRONG_OVERRIDES = [
    ("epoch=3", ["unknown key 'epoch'", "Did you mean 'epochs'"]),
    ("epochs=3.0", ["'epochs' is 3.0", "integer"]),
    ("epochs=many", ["'epochs' is 'many'", "integer"]),
    ("epochs=true", ["'epochs' is True", "integer"]),
    ("epochs=0", ["'epochs' is 0", "greater than or equal to 1"]),
    ("epochs.x=3", ["'epochs'"]),
    ("batch_size=1", ["'batch_size' is 1"]),
    ("image_size=8", ["'image_size' is 8"]),
    ("seed=-1", ["'seed' is -1"]),
    ("protocol=papre", ["'protocol' is 'papre'", "'paper'"]),
    ("precision=fp16", ["'precision' is 'fp16'", "'bf16'"]),
    ("optimiser.lr=0", ["'optimiser.lr' is 0", "greater than 0"]),
    ("optimiser.lr=.nan", ["'optimiser.lr' is nan"]),
    ("optimiser.lr=.inf", ["'optimiser.lr' is inf"]),
    ("optimiser.lrr=1", ["unknown key 'optimiser.lrr'", "Did you mean 'lr'"]),
    ("optimiser.name=sdg", ["'optimiser.name' is 'sdg'", "'sgd'"]),
    ("optimiser.betas=[0.9]", ["'optimiser.betas'"]),
    ("schedule.warmup=2", ["'schedule.warmup' is 2"]),
    ("split.folds=1", ["'split.folds' is 1"]),
    ("split.fold=1", ["unknown key 'split.fold'", "Did you mean 'folds'"]),
    ("select.network=studen", ["select.network", "Did you mean 'student'"]),
    ("select.metric=acc", ["'select.metric' is 'acc'", "balanced_accuracy"]),
    ("networks.student=3", ["'networks.student' is 3"]),
    ("networks.student.bakbone=x", ["'networks.student.bakbone'", "Did you mean 'backbone'"]),
    ("networks.student.backbone=3", ["'networks.student.backbone' is 3", "string"]),
    ("networks.student.projection=0", ["'networks.student.projection' is 0"]),
    ("networks.student.pretrained=null", ["'networks.student.pretrained'"]),
    ("networks.teacher.trained_by={recipe: teacher, sett: {}}", ["trained_by.sett", "Did you mean 'set'"]),
    ("networks.teacher.trained_by=null", ["networks.teacher", "run=DIR"]),
    ("networks.teacher.frozen=false", ["nothing trains teacher"]),
    ("views.student=plian", ["views.student", "Did you mean 'plain'"]),
    ("views.student=3", ["views.student", "policy"]),
    ("views.student.polciy=plain", ["'views.student.polciy'", "Did you mean 'policy'"]),
    ("views.student.policy={rotat: 1.0}", ["'views.student.policy.rotat'", "Did you mean 'rotate'"]),
    ("views.student.policy={rotate: 1000}", ["'views.student.policy.rotate' is 1000", "180"]),
    ("views.student.same_as=teacher", ["views.student.same_as", "no draw of its own"]),
    ("objectives.kl=3", ["objectives.kl"]),
    ("objectives.kl.loss=3", ["'objectives.kl.loss' is 3"]),
    ("objectives.kl.weight=heavy", ["'objectives.kl.weight' is 'heavy'", "number"]),
    ("objectives.kl.weight=.nan", ["'objectives.kl.weight' is nan"]),
    ("objectives.kl.weight={ramp: gausian, epochs: 3}", ["'objectives.kl.weight.ramp' is 'gausian'", "'gaussian'"]),
    ("objectives.kl.weight={ramp: linear, epoch: 3}", ["'objectives.kl.weight.epoch'", "Did you mean 'epochs'"]),
    ("objectives.kl.weight={ramp: linear}", ["'objectives.kl.weight.epochs' is missing"]),
    ("objectives.kl.weight={steps: {5: 1.0}}", ["objectives.kl.weight.steps", "epoch 0"]),
    ("objectives.kl.from=techer", ["objectives.kl.from", "Did you mean 'teacher'"]),
    ("objectives.kl.to=teacher", ["objectives.kl", "frozen"]),
    ("objectives.kl.of=student", ["objectives.kl", "needs of (one network), or from and to"]),
    ("ensembles.pair=[student, teacher, student]", ["ensembles.pair", "names student twice"]),
]  # fmt: skip


@pytest.mark.parametrize(("override", "said"), WRONG_OVERRIDES, ids=[one for one, _ in WRONG_OVERRIDES])
def test_a_wrong_override_is_one_error_that_names_the_key(override: str, said: list[str]) -> None:
    error = refused(lambda: resolve("kd", [override]), "recipe kd", *said)
    assert len(str(error).splitlines()) <= 3


def test_full_precision_can_be_said_without_quotes() -> None:
    """The loop's own advice is ``precision=32``, which YAML reads as a number."""
    assert resolve("kd", ["precision=32"]).precision == "32"


def test_an_unknown_recipe_gets_a_suggestion(tmp_path: Path) -> None:
    refused(lambda: resolve("mean_teachr"), "Did you mean 'mean_teacher'", "kd")
    refused(lambda: resolve(str(tmp_path / "none.yaml")), "none.yaml", "no such recipe file")


@pytest.mark.parametrize("text", ["", "3", "word", "[1, 2]", "a: [1", "epochs: 3\nepochs: 4", "3: 4"])
def test_a_file_that_holds_no_recipe_is_named(text: str, tmp_path: Path) -> None:
    refused(lambda: resolve(written(tmp_path, text)), "mine.yaml")


def test_a_binary_file_is_no_recipe(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(b"\xff\xfe\x00\x01")
    refused(lambda: resolve(str(file)), "mine.yaml", "not YAML")


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


@pytest.mark.parametrize(("changes", "said"), WRONG_RECIPES, ids=[" ".join(said) for _, said in WRONG_RECIPES])
def test_a_wrong_recipe_is_one_error_that_names_the_key(changes: dict[str, Any], said: list[str]) -> None:
    validate(plain(), "mine.yaml")
    refused(lambda: validate(plain(**changes), "mine.yaml"), "mine.yaml", *said)


def test_a_missing_key_is_named() -> None:
    for key in ("name", "networks", "views", "objectives"):
        data = {one: value for one, value in plain().items() if one != key}
        refused(lambda data=data: validate(data, "mine.yaml"), f"'{key}' is missing")


# --- where a network comes from -----


@pytest.mark.parametrize(
    "said",
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
def test_an_origin_that_makes_sense_is_taken(said: dict[str, Any]) -> None:
    assert Network.model_validate(said).model_dump() == said


@pytest.mark.parametrize(
    ("said", "named"),
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
def test_an_origin_that_contradicts_itself_is_refused(said: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Network.model_validate(said)


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
    assert stage.networks == {"teacher": Network(backbone="resnet18", pretrained="w.safetensors", dropout=0.2)}
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
    assert stage.networks == {"student": Network(backbone="mobilenetv2_100", pretrained="imagenet")}


def test_a_head_that_the_run_before_does_not_train_is_refused() -> None:
    recipe = resolve("kd", ["networks.teacher.projection=16"])
    refused(lambda: stage_recipe(recipe, "teacher"), "networks.teacher.projection", "sskd_head")


def test_what_is_wrong_with_the_run_before_is_named() -> None:
    def stage(said: str) -> Recipe:
        return stage_recipe(resolve("kd", [f"networks.teacher.trained_by={said}"]), "teacher")

    refused(lambda: stage("teachr"), "Did you mean 'teacher'")
    refused(lambda: stage("{recipe: teacher, set: {epoch: 7}}"), "'epoch'", "Did you mean 'epochs'")


def test_a_run_before_that_leaves_several_networks_and_none_of_this_name_is_refused() -> None:
    data = resolve("kd", ["networks.teacher.trained_by=mean_teacher"]).plain()
    data["networks"]["tutor"] = data["networks"].pop("teacher")
    data["views"]["tutor"] = data["views"].pop("teacher")
    data["objectives"][1]["from"] = "tutor"
    refused(lambda: stage_recipe(validate(data, "x"), "tutor"), "networks.tutor.trained_by", "mean_teacher")


# --- weights -----


@pytest.mark.parametrize("start", [0, 4])
@pytest.mark.parametrize("to", [1.0, 2.5])
def test_a_gaussian_ramp_is_its_formula(to: float, start: int) -> None:
    ramp = Ramp(ramp="gaussian", epochs=30, to=to, start=start)
    for epoch in range(50):
        t = epoch - start
        expected = 0.0 if t < 0 else to * math.exp(-5 * (1 - t / 30) ** 2) if t < 30 else to
        assert weight_at(ramp, epoch) == pytest.approx(expected, rel=1e-12, abs=0), epoch


def test_a_linear_ramp_is_its_formula() -> None:
    ramp = Ramp(ramp="linear", epochs=4, to=2.0, start=1)
    assert [weight_at(ramp, epoch) for epoch in range(7)] == [0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.0]


def test_steps_hold_from_their_epoch_on_in_any_order() -> None:
    steps = Steps(steps={30: 0.01, 0: 0.1, 40: 0.0})
    assert [weight_at(steps, epoch) for epoch in (0, 29, 30, 39, 40, 99)] == [0.1, 0.1, 0.01, 0.01, 0.0, 0.0]


def test_a_number_is_the_same_in_every_epoch() -> None:
    assert {weight_at(0.7, epoch) for epoch in range(5)} == {0.7}
