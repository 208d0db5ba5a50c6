"""What a recipe says of an objective: settings, facts that the engine fills in, and what is refused."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from preceptor.losses.cross_entropy import CrossEntropy
from preceptor.losses.registry import LOSSES
from preceptor.networks.build import build_networks
from preceptor.recipes.registry import RECIPES
from preceptor.recipes.resolve import resolve
from preceptor.training.checks import check_objectives
from preceptor.training.objectives import build_objectives
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator
from small_model import BATCH, CE, CLASSES, KL, LABELS, PAIR, STUDENT, losses, model, one_step, recipe, refused, views


@pytest.mark.parametrize("name", list(RECIPES))
def test_the_objectives_of_every_shipped_recipe_pass_their_check(name: str) -> None:
    check_objectives(resolve(name))


def test_a_mistyped_key_of_any_objective_is_named() -> None:
    with pytest.raises(PreceptorError, match=r"'objectives\.kl\.wieght'.*Did you mean 'weight'") as refused:
        check_objectives(resolve("kd", {"objectives.kl.wieght": 1}))
    assert {"temperature", "weight", "from", "features"} <= set(
        refused.value.expected.removeprefix("one of ").split(", ")
    )


@pytest.mark.parametrize("loss", list(LOSSES))
def test_every_registered_loss_can_be_named_in_a_recipe(loss: str) -> None:
    """Its settings have defaults, and the engine has all that it feeds on: classes or masks, one view or several."""
    spec = LOSSES[loss]
    networks = {"student": {**STUDENT, "projection": 8}, "teacher": {"mean_of": "student"}}
    sides = {"from": "teacher", "to": "student"} if spec.needs_source else {"of": "student"}
    tried = {"loss": loss, "name": "tried", **sides}
    if "penultimate" in spec.features:  # which transformers have
        tried["features"] = ["stage4"]
    received: dict[str, Any] = {"student": "plain", "teacher": {"same_as": "student"}}
    of_maps = loss in ("cwd", "dsd_channel", "skd_holistic") or "decoder1" in spec.features
    if "masks" in spec.feeds.values() or of_maps:
        own = {"loss": "cross_entropy_masks", "of": "student"}
        built = model([own, tried], networks, task="segmentation", select={"metric": "iou"}, views=received)
        size = 2 if spec.critic else 1  # critics want images of 64 px
        images = {name: image.repeat(1, 1, size, size) for name, image in views(built).items()}
        masks = dict.fromkeys(PAIR, torch.randint(3, (4, 32 * size, 32 * size), generator=generator(0)))
        result = one_step(built, images, masks=masks).losses["tried"]
    elif "label_matrix" in spec.feeds.values():
        built = model([tried], networks, task="multi_label", select={"metric": "label_auc"}, views=received)
        labels = torch.nn.functional.one_hot(BATCH, 3).float()
        result = one_step(built, labels=labels).losses["tried"]
    elif spec.tells_views_apart:
        received["student"] = {"policy": "plain", "extra_transforms": ["rot90"]}
        built = model([CE, tried], networks, views=received)
        result = losses(
            built, collected={name: torch.cat([outputs, outputs]) for name, outputs in views(built).items()}
        )["tried"]
    else:
        result = losses(model([CE, tried], networks, views=received, batch_size=len(BATCH)))["tried"]
    assert result.shape == ()
    assert result.isfinite()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"cross_entropy": 0, "kl": 0}, "all weights are 0 in every epoch"),
        ({"cross_entropy": {"steps": {0: 1.0, 2: 0.0}}, "kl": 0}, "all weights are 0 in epoch 3, 4"),
        ({"cross_entropy": 0, "kl": {"ramp": "linear", "epochs": 2, "on": 1}}, "all weights are 0 in epoch 1"),
        ({"cross_entropy": 0, "kl": {"ramp": "linear", "epochs": 2, "start": 4}}, "all weights are 0 in every epoch"),
    ],
)
def test_epochs_without_anything_to_learn_from_are_refused(weights: dict[str, Any], message: str) -> None:
    settings = {f"objectives.{name}.weight": weight for name, weight in weights.items()}
    with pytest.raises(PreceptorError, match=message):
        check_objectives(resolve("kd", {"epochs": 4, **settings}))


def test_a_network_that_no_weight_ever_trains_is_named() -> None:
    late = {
        f"objectives.{name}.weight": {"steps": {0: 0.0, 2: 1.0}} for name in ("cross_entropy_2", "predictions_1_to_2")
    }
    check_objectives(resolve("ml_v1", {"epochs": 3, **late}))
    with pytest.raises(PreceptorError, match=r"nothing trains student_2: .*cross_entropy_2, .* each of the 2 epochs"):
        check_objectives(resolve("ml_v1", {"epochs": 2, **late}))


# --- facts and settings -----


def test_facts_are_filled_from_the_training_part_and_the_networks(register: Any) -> None:
    asked = {}

    class Asks(nn.Module):
        def __init__(self, counts: Tensor, rows: Tensor, k: int, d: int, p: int, tk: int, td: int, tp: int) -> None:
            super().__init__()
            asked.update(counts=counts.tolist(), rows=rows.tolist(), k=k, d=d, p=p, tk=tk, td=td, tp=tp)

        def forward(self, logits: Tensor) -> Tensor:
            return logits.mean()

    facts = {
        "counts": "class_counts", "rows": "row_labels", "k": "to.channels", "d": "to.embedding", "p": "to.projection",
        "tk": "from.channels", "td": "from.embedding", "tp": "from.projection",
    }  # fmt: skip
    register("asks", Asks, facts=facts)
    networks = {
        "student": {"backbone": "mobilenetv3_small_050", "projection": 6},
        "other": {"backbone": "test_resnet", "projection": 8},
    }
    model([CE, {**CE, "of": "other", "name": "b"}, {"loss": "asks", "from": "other", "to": "student"}], networks)
    assert asked == {
        "counts": [2, 3, 1], "rows": LABELS.tolist(), "k": 288, "d": 1024, "p": 6, "tk": 96, "td": 96, "tp": 8,
    }  # fmt: skip


def test_a_class_without_training_images_is_an_error_of_the_objective() -> None:
    whole = recipe([{**CE, "class_weights": "inverse_frequency"}], {"student": STUDENT})
    built, _ = build_networks(whole.networks, CLASSES, 32, 0)
    with pytest.raises(PreceptorError, match=r"objectives\.cross_entropy: class_weights"):
        build_objectives(whole, built, torch.tensor([0, 0, 1]), 3)


def test_settings_reach_the_loss(register: Any) -> None:
    class Settings(nn.Module):
        def __init__(self, kind: Literal["a", "b"] = "a", scale: float = 1.0, many: list[float] | None = None) -> None:
            super().__init__()
            self.arguments = (kind, scale, many)

        def forward(self, logits: Tensor) -> Tensor:
            return logits.mean()

    register("settings", Settings)
    text = {"kind": "b", "scale": 2, "many": [1, 2.5]}
    built = model([{"loss": "settings", "of": "student", **text}], {"student": STUDENT})
    assert built.objectives["settings"].loss.arguments == ("b", 2.0, [1.0, 2.5])
    built = model([{"loss": "settings", "of": "student"}], {"student": STUDENT})
    assert built.objectives["settings"].loss.arguments == ("a", 1.0, None)


def test_a_loss_of_few_words_works(register: Any) -> None:
    """No ``__init__`` of its own, or one without type hints: a plug-in owes us neither."""

    class Bare(nn.Module):
        def forward(self, logits: Tensor) -> Tensor:
            return logits.square().mean()

    class NoHints(Bare):
        def __init__(self, scale=2.0):
            super().__init__()
            self.scale = scale

        def forward(self, logits):
            return self.scale * logits.square().mean()

    register("bare", Bare)
    register("no_hints", NoHints)
    built = model([{"loss": "bare", "of": "student"}, {"loss": "no_hints", "of": "student", "scale": 3}],
                     {"student": STUDENT}).eval()  # fmt: skip
    result = losses(built)
    torch.testing.assert_close(result["no_hints"], 3 * result["bare"])


def test_a_setting_that_has_no_default_must_be_given(register: Any) -> None:
    class Needs(nn.Module):
        def __init__(self, margin: float) -> None:
            super().__init__()

        def forward(self, logits: Tensor) -> Tensor:
            return logits.mean()

    register("needs", Needs)
    refused([{"loss": "needs", "of": "student"}], {"student": STUDENT}, "'objectives.needs.margin' is missing")


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ({**CE, "loss": "cross_entrpy"}, ["cross_entrpy", "Did you mean 'cross_entropy'"]),
        ({**KL, "temprature": 3.0}, ["'objectives.kl.temprature'", "Did you mean 'temperature'"]),
        ({**KL, "temperature": "hot"}, ["'objectives.kl.temperature' is 'hot'", "number"]),
        ({**KL, "temperature": True}, ["'objectives.kl.temperature' is True"]),
        ({**KL, "name": "distil", "temperature": "hot"}, ["'objectives.distil.temperature'"]),
        ({**CE, "name": "ce", "class_weights": "inverse"}, ["'objectives.ce.class_weights'", "'inverse_frequency'"]),
        ({**CE, "name": "ce", "class_weights": [1.0, "x", 1.0]}, ["'objectives.ce.class_weights", "'x'", "number"]),
        ({**CE, "name": "ce", "class_counts": [1, 2]}, ["'objectives.ce.class_counts'"]),  # a fact is not a setting
        ({"loss": "kl", "of": "student"}, ["objectives.kl", "from: NAME and to: NAME"]),
        ({"loss": "cross_entropy", "name": "ce", "from": "teacher", "to": "student"}, ["objectives.ce", "of: NAME"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_wrong_objective_is_one_error_that_names_its_key(objective: dict[str, Any], words: list[str]) -> None:
    check_objectives(recipe([CE]))
    refused([CE, objective] if objective["loss"] == "kl" else [objective], None, *words)


@pytest.mark.parametrize("setting", [{"label_smoothing": 1.5}, {"class_weights": [1.0, 2.0]}])
def test_a_value_that_the_loss_refuses_is_placed(setting: dict[str, Any]) -> None:
    with pytest.raises(PreceptorError, match=rf"objectives\.cross_entropy: {next(iter(setting))}"):
        model([{**CE, **setting}], {"student": STUDENT})


@pytest.mark.parametrize(
    ("networks", "named"),
    [
        ({"student": STUDENT, "teacher": {"mean_of": "student"}}, "networks.student.projection"),
        (
            {"student": {**STUDENT, "projection": 8}, "teacher": {"run": "dir", "frozen": True}},
            "networks.teacher.projection",
        ),
    ],
)
def test_a_loss_that_needs_projections_says_where_to_put_them(register: Any, networks: Any, named: str) -> None:
    register("pull", CrossEntropy, feeds={"logits": "to.projection", "labels": "from.projection"})
    pull = {"loss": "pull", "from": "teacher", "to": "student"}
    refused([CE, pull], networks, "objectives.pull", "projection", named)


def test_an_average_cannot_be_taught_by_what_would_not_reach_it() -> None:
    refused([CE, {"loss": "kl", "from": "student", "to": "teacher"}], PAIR, "objectives.kl", "teacher")
