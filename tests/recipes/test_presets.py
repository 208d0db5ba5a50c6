"""Every preset against the figures of its paper, as a table: recipe and preset → key → value."""

from __future__ import annotations

from typing import Any

import pytest

from preceptor.data.policy import POLICIES
from preceptor.recipe import Recipe
from preceptor.recipes.resolve import resolve
from preceptor.runs.dependencies import stage_recipe

SGD_OF_SSD_KD = {
    "optimiser": {"name": "sgd", "lr": 1e-3, "momentum": 0.9, "nesterov": False, "weight_decay": 1e-3},
    "schedule": {"name": "plateau", "factor": 0.1, "patience": 10},
    "early_stop": 15,
    "epochs": 150,
    "image_size": 224,
    "split.folds": 10,
    "split.validation": 0.2,
    "select.metric": "nll",
}
ADAM_OF_CRCKD = {
    "optimiser": {"name": "adam", "lr": 1e-4, "betas": [0.5, 0.999], "weight_decay": 0.0},
    "schedule": {"name": "one_cycle", "warmup": 0.3, "cycle_momentum": False},
    "batch_size": 64,
    "epochs": 80,
}
CODE_OF_CRCKD = {
    "optimiser": {"name": "adam", "lr": 3e-4, "betas": [0.9, 0.999], "weight_decay": 5e-4},
    "schedule": {"name": "one_cycle", "warmup": 0.3, "cycle_momentum": True},
    "batch_size": 64,
    "epochs": 80,
}
OF_KDML = {
    "optimiser": {"name": "adam", "lr": 1e-4, "betas": [0.9, 0.999], "weight_decay": 0.0},
    "schedule": {"name": "constant"},
    "batch_size": 8,
    "split.folds": 7,
    "split.validation": 0.1165,
}
RAMP = {"ramp": "gaussian", "epochs": 30}
LATE = {"ramp": "gaussian", "epochs": 30, "on": 20}

#: (recipe, arguments) → dotted key → value; ``weights`` are those of all objectives by name, in this order.
TABLE: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("crckd", {"preset": "paper"}, {**ADAM_OF_CRCKD, "views.student": "crckd", "views.teacher": "crckd",
        "networks.student": {"backbone": "densenet121", "pretrained": "imagenet", "projection": 128},
        "networks.teacher": {"mean_of": "student", "decay": 0.99, "batch_norm": "averaged"},
        "weights": {"cross_entropy": 1.0, "kl": RAMP, "ccd": {"steps": {0: 0.1, 30: 0.01}}, "crp": RAMP},
        "objectives.ccd.positives": 20, "objectives.ccd.negatives": 4096, "objectives.ccd.temperature": 0.07,
        "objectives.crp.variant": "paper"}),
    ("crckd", {}, {**ADAM_OF_CRCKD, "objectives.crp.variant": "paper", "objectives.crp.temperature": 0.07}),
    ("crckd", {"preset": "official"}, {**CODE_OF_CRCKD,
        "views.student": "crckd_official_student", "views.teacher": "crckd_official_teacher",
        "networks.student.bottleneck": 128, "networks.teacher.batch_norm": "batch",
        "weights": {"cross_entropy": 1.0, "kl": LATE, "ccd": {"steps": {0: 0.1, 20: 0.01}},
                    "crp": {"steps": {0: 0.0, 20: 1.0}}},
        "objectives.crp.variant": "official"}),
    ("mt_sp", {"preset": "official"}, {"weights": {"cross_entropy": 1.0, "kl": LATE, "sp_embedding": LATE}}),
    ("mt_crd", {"preset": "paper"}, {"objectives.crd.negatives": 4096}),
    ("mt_fitnet", {"preset": "official"}, {"weights": {"cross_entropy": 1.0, "kl": LATE,
        "fitnet_embedding": {**LATE, "to": 0.1}}}),
    ("student", {"preset": "crckd"}, {**ADAM_OF_CRCKD, "views.student": "crckd",
        "networks.student": {"backbone": "densenet121", "pretrained": "imagenet"}}),
    ("student", {"preset": "crckd_official"}, {**CODE_OF_CRCKD, "views.student": "crckd_official_student",
        "networks.student.bottleneck": 128}),
    ("teacher", {"preset": "ssd_kd"}, {**SGD_OF_SSD_KD, "batch_size": 128, "views.teacher": "ssd_kd_text",
        "networks.teacher": {"backbone": "resnet50", "pretrained": "imagenet"}, "select.network": "teacher"}),
    ("student", {"preset": "ssd_kd_official"}, {**SGD_OF_SSD_KD, "batch_size": 128, "views.student": "ssd_kd",
        "networks.student": {"backbone": "mobilenetv2_100", "pretrained": "imagenet"}}),
    ("kd", {"preset": "paper"}, {**SGD_OF_SSD_KD, "batch_size": 128, "views.student": "ssd_kd_text",
        "networks.student": {"backbone": "mobilenetv2_100", "pretrained": "imagenet"},
        "weights": {"cross_entropy": 0.5, "kl": 0.5}, "objectives.kl.temperature": 5.0}),
    ("kd", {"preset": "official"}, {**SGD_OF_SSD_KD, "batch_size": 128, "views.student": "ssd_kd"}),
    ("fitnet", {"preset": "paper"}, {**SGD_OF_SSD_KD, "weights": {"cross_entropy": 0.01, "fitnet": 1.0},
        "objectives.fitnet.regressor": "conv_bn_relu"}),
    ("fitnet", {}, {"weights": {"cross_entropy": 1.0, "fitnet": 100.0}}),
    ("fitnet", {"task": "segmentation"}, {"weights": {"focal_masks": 1.0, "dice_pooled": 1.0, "kl": 1.0,
        "fitnet": 10.0}}),
    ("at", {}, {"weights": {"cross_entropy": 1.0, "at": 1000.0}}),
    ("at", {"task": "segmentation"}, {"weights": {"focal_masks": 1.0, "dice_pooled": 1.0, "kl": 1.0, "at": 1e4},
        "objectives.kl.temperature": None}),
    ("drkd", {"preset": "paper"}, {**SGD_OF_SSD_KD, "weights": {"cross_entropy": 3.0, "drkd": 1.0}}),
    ("d_kd", {"preset": "paper"}, {**SGD_OF_SSD_KD,
        "weights": {"cross_entropy": 0.5, "kl": 0.5, "drkd": 1.0, "crkd": 1000.0}}),
    ("ssd_kd", {"preset": "paper"}, {**SGD_OF_SSD_KD, "batch_size": 32, "networks.teacher.projection": "mlp",
        "weights": {"cross_entropy": 0.1, "kl": 0.9, "sskd_logits": 2.7, "sskd_similarity": 10.0, "drkd": 1.0,
                    "crkd": 1000.0},
        "objectives.kl.temperature": 4.0, "objectives.sskd_logits.temperature": 4.0,
        "objectives.sskd_logits.keep": 1.0, "objectives.sskd_similarity.temperature": 0.5,
        "objectives.sskd_similarity.keep": 0.75, "objectives.drkd.images": "all",
        "views.student.extra_transforms": ["rot90", "rot180", "rot270"]}),
    ("sskd_head", {"preset": "paper"}, {"optimiser": SGD_OF_SSD_KD["optimiser"], "epochs": 60, "batch_size": 32,
        "schedule": {"name": "multi_step", "epochs": [30, 45], "factor": 0.1}, "select.metric": "last",
        "views.teacher.policy": "ssd_kd_text", "networks.teacher.frozen": "backbone"}),
    ("kd_ml_v3", {"preset": "paper"}, {**OF_KDML, "views.student_1": "kdml", "select.epoch": "each",
        "networks.student_1": {"backbone": "resnet18", "pretrained": "imagenet"},
        "networks.teacher.backbone": "resnet50", "networks.teacher.map_channels": 512,
        "weights": {"cross_entropy_1": 1.0, "cross_entropy_2": 1.0, "features_teacher_to_1": 1.0,
                    "predictions_2_to_1": 1.0, "predictions_teacher_to_2": 1.0, "features_1_to_2": 1.0}}),
    ("kd_ml_v1", {"preset": "paper", "backbone": "mobilenetv1_100", "task": "segmentation"}, {**OF_KDML,
        "networks.student_2.backbone": "mobilenetv1_100", "objectives.kl.temperature": 2.0,
        "select.metric": "iou_pooled"}),
    ("teacher", {"preset": "kdml"}, {**OF_KDML, "views.teacher": "kdml",
        "networks.teacher": {"backbone": "resnet50", "pretrained": "imagenet"}}),
]  # fmt: skip

#: A policy → its fields that are not at their defaults.
VIEWS = {
    "ssd_kd": {
        "h_flip": 0.5, "v_flip": 0.2, "scale": (1.0, 2.0), "scale_each_axis": True, "scale_p": 0.25, "rotate": 120.0,
        "rotate_p": 0.25, "brightness": 0.06, "saturation": 0.04, "hue": 14.0, "colour_p": 0.25, "blur": 1.5,
        "blur_p": 0.25, "dropout": 0.05, "dropout_p": 0.1,
    },
    "crckd_official_student": {"h_flip": 0.5, "rotate": 10.0, "shift": 0.02},
    "crckd_official_teacher": {
        "h_flip": 0.5, "v_flip": 0.5, "quarter_turns": 0.75, "rotate": 10.0, "shift": 0.02,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "expected"), TABLE, ids=[" ".join([n, *map(str, a.values())]) for n, a, _ in TABLE]
)
def test_every_figure_is_the_papers(name: str, arguments: dict[str, Any], expected: dict[str, Any]) -> None:
    recipe = resolve(name, arguments)
    assert {key: value_of(recipe, key) for key in expected} == expected


def value_of(recipe: Recipe, key: str) -> Any:
    """What a dotted key of a recipe's YAML says; a mapping without its ``paper`` and what is at its default."""
    if key == "weights":
        return {term.name: term.model_dump(by_alias=True)["weight"] for term in recipe.objectives}
    plain: Any = recipe.plain()
    plain["objectives"] = {term["loss"]: term for term in plain["objectives"]}
    plain["critic_optimiser"] = None
    for part in key.split("."):
        plain = plain.get(part) if isinstance(plain, dict) else None
    return plain


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_those_of_the_code(name: str) -> None:
    assert POLICIES[name].model_dump(exclude_defaults=True) == VIEWS[name]


def test_ssd_kd_trains_its_teacher_and_head_as_the_authors_did() -> None:
    """Two stages: the head on the teacher, the teacher before it, which does not get the head's budget."""
    recipe = resolve("ssd_kd", {"preset": "paper"})
    head = stage_recipe(recipe, "teacher")
    assert (head.name, head.epochs, head.batch_size) == ("sskd_head", 60, 32)
    assert head.schedule.name == "multi_step"
    teacher = stage_recipe(head, "teacher")
    assert (teacher.name, teacher.batch_size, teacher.early_stop) == ("teacher", 128, 15)
    expected = {**SGD_OF_SSD_KD, "views.teacher": "ssd_kd_text"}
    assert {key: value_of(teacher, key) for key in expected} == expected
    direct = stage_recipe(resolve("kd", {"preset": "official"}), "teacher")
    expected = {**SGD_OF_SSD_KD, "batch_size": 128, "views.teacher": "ssd_kd"}
    assert {key: value_of(direct, key) for key in expected} == expected


def test_masks_are_judged_by_their_own_metric() -> None:
    recipe = resolve("kd", {"preset": "paper", "task": "segmentation"})
    assert (recipe.select.metric, recipe.early_stop) == ("iou_pooled", 15)
    assert resolve("student", {"preset": "kdml", "task": "segmentation"}).split.folds == 7
