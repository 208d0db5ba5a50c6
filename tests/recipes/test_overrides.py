"""What the command line sets in a recipe."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from preceptor.data.policy import POLICIES
from preceptor.recipe import Adam, NetworkConfig, Plateau, View
from preceptor.recipes.overrides import parse_override
from preceptor.recipes.registry import RECIPES
from preceptor.recipes.resolve import resolve, to_yaml, validate
from preceptor.utils.errors import PreceptorError, UnknownKeyError
from small_recipe import plain, refused, written

# --- overrides -----


@pytest.mark.parametrize(
    ("override", "value"),
    [("a=3", 3), ("a=1e-4", 1e-4), ("a=0.5", 0.5), ("a=x", "x"), ("a=null", None), ("a=true", True), ("a='32'", "32"),
     ("a=[1,2]", [1, 2]), ("a={b: 1}", {"b": 1}), ("a=b=c", "b=c")],
)  # fmt: skip
def test_a_value_is_what_yaml_makes_of_it(override: str, value: object) -> None:
    key, result = parse_override(override)
    assert key == "a"
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("override", ["epochs", "=3", "epochs=[1", "epochs=!python 3", "epochs=" + 30 * "9"])
def test_what_is_no_override_is_refused(override: str) -> None:
    refused(lambda: parse_override(override), override.split("=")[0] or "=3", "expected")


def test_the_command_line_replaces_what_a_file_sets_but_not_itself(tmp_path: Path) -> None:
    file = written(tmp_path, to_yaml(resolve("kd", ["epochs=5"])))
    assert resolve(file, ["epochs=7"]).epochs == 7
    refused(
        lambda: resolve(file, ["epochs=7", "batch_size=8", "epochs=9"]), "epochs: is given 2 times", "each key once"
    )


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


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_no_number_is_an_unexpected_error(name: str) -> None:
    """What its type allows, a part of the recipe that is made of it may refuse."""
    for argument, default in ((each.name, each.default) for each in RECIPES[name].arguments.values()):
        if isinstance(default, int | float) and not isinstance(default, bool):
            for value in (type(default)(-1), type(default)(0)):
                with suppress(PreceptorError):
                    resolve(name, {argument: value})


def test_no_ramp_is_refused_by_its_argument() -> None:
    with pytest.raises(PreceptorError, match=r"recipe mean_teacher: 'ramp_epochs' is 0\n  expected: .* 1"):
        resolve("mean_teacher", {"ramp_epochs": 0})


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
    assert [objective.name for objective in resolve("kd", ["objectives.kl.name=distil"]).objectives] == [
        "cross_entropy",
        "distil",
    ]


@pytest.mark.parametrize("section", ["networks", "views", "objectives"])
def test_overrides_make_nothing_new(section: str) -> None:
    leaf = {"networks": "backbone=resnet18", "views": "policy=plain", "objectives": "loss=kl"}[section]
    refused(lambda: resolve("kd", [f"{section}.fresh.{leaf}"]), f"{section}.fresh", "one of")
    refused(lambda: resolve("kd", [f"{section}=3"]), repr(section))


def test_a_mistyped_network_gets_a_suggestion() -> None:
    refused(lambda: resolve("kd", ["networks.studnt.backbone=resnet18"]), "networks.studnt", "Did you mean 'student'")


def test_a_run_replaces_what_said_where_a_network_came_from() -> None:
    teacher = resolve("kd", ["networks.teacher.run=/some/run"]).networks["teacher"]
    assert teacher == NetworkConfig(run="/some/run", frozen=True)


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
    ("select.metric=acc", ["select.metric: acc is not of classification", "balanced_accuracy"]),
    ("networks.student=3", ["'networks.student' is 3"]),
    ("networks.student.bakbone=x", ["'networks.student.bakbone'", "Did you mean 'backbone'"]),
    ("networks.student.projection=0", ["'networks.student.projection' is 0"]),
    ("networks.teacher.trained_by={recipe: teacher, sett: {}}", ["trained_by.sett", "Did you mean 'set'"]),
    ("networks.teacher.pretrained=none networks.teacher.trained_by=null", ["networks.teacher", "run=DIR"]),
    ("networks.teacher.frozen=false", ["nothing trains teacher"]),
    ("views.student=plian", ["views.student", "Did you mean 'plain'"]),
    ("views.student=3", ["views.student", "policy"]),
    ("views.student.polciy=plain", ["'views.student.polciy'", "Did you mean 'policy'"]),
    ("views.student.policy={rotat: 1.0}", ["'views.student.policy.rotat'", "Did you mean 'rotate'"]),
    ("views.student.policy={rotate: 1000}", ["'views.student.policy.rotate' is 1000", "180"]),
    ("views.student.same_as=teacher", ["views.student.same_as", "no draw of its own"]),
    ("objectives.kl=3", ["objectives.kl"]),
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


@pytest.mark.parametrize(("override", "words"), WRONG_OVERRIDES, ids=[override for override, _ in WRONG_OVERRIDES])
def test_a_wrong_override_is_one_error_that_names_the_key(override: str, words: list[str]) -> None:
    error = refused(
        lambda: resolve("kd", [override] if " networks." not in override else override.split()), "recipe kd", *words
    )
    assert len(str(error).splitlines()) <= 3


def test_the_suggestion_is_for_the_key_that_is_unknown_and_not_for_the_first() -> None:
    with pytest.raises(UnknownKeyError, match=r"unknown key 'temprature'\. Did you mean 'temperature'") as caught:
        resolve("kd", ["epochs=3", "temprature=4"])
    assert (caught.value.key, "temperature" in caught.value.known) == ("temprature", True)
    with pytest.raises(UnknownKeyError) as caught:
        resolve("kd", ["objectives.kll.weight=1"])
    assert (caught.value.key, str(caught.value).count("Did you mean 'kl'")) == ("objectives.kll", 1)


@pytest.mark.parametrize("text", ["precision=float32", "precision=32", "precision='32'"])
def test_full_precision_has_two_names(text: str) -> None:
    """Earlier recipes call it 32, which YAML reads as a number."""
    assert resolve("kd", [text]).precision == "float32"
