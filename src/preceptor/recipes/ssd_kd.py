"""SSD-KD, its parts, and what it is compared with: a frozen teacher, a smaller student.

Y. Wang et al., "SSD-KD: A self-supervised diverse knowledge distillation method for lightweight skin lesion
classification using dermoscopic images", Medical Image Analysis 2023 (arXiv 2203.11490). Its Tables 2 and 3 have ten
distilled students, which are below: eqs. (4), (9) and (10) with some of their terms.

``preset: paper`` is ResNet50 → MobileNetV2, both from ImageNet, at 224 px; teacher, its head and students have the
authors' optimiser, plateau on the validation loss, early stop and split, and the views of the text. ``official`` is
the same with the views of the released code. What the text leaves open (the ratios of the FitNet and DRKD rows) is the
code's in both. The default, ``ours``, is a smaller pair with the budget of the recipes ``teacher`` and ``student``, so
that a student alone and all distilled ones can be compared. With ``--task segmentation`` the networks are U-Nets, the
task's loss is focal + Dice and logits are those of pixels; self-supervision has no form for masks.
"""

from __future__ import annotations

from typing import Any, Literal

from preceptor.recipe import (
    SGD,
    Adam,
    Fraction,
    MultiStep,
    NetworkConfig,
    Objective,
    OneCycle,
    Positive,
    Recipe,
    Select,
    TrainedBy,
    View,
)
from preceptor.recipes.distillation import distil, trained_teacher
from preceptor.recipes.registry import register_recipe
from preceptor.recipes.settings import SETTINGS, SettingName
from preceptor.tasks import TASKS

PAPER = "Wang et al., SSD-KD, Medical Image Analysis 2023"
Preset = Literal["ours", "paper", "official"]
Relations = Literal["all", "upright"]
Epochs = Positive | None

TURNS: list[Any] = ["rot90", "rot180", "rot270"]
_SETTING: dict[str, SettingName] = {"ours": "ours", "paper": "ssd_kd", "official": "ssd_kd_official"}
_IMAGES = 32  # of a batch that shows each image four times


@register_recipe(paper=f"{PAPER}, eq. (4) (BLKD); Hinton et al. 2015")
def kd(
    temperature: float = 5.0,
    balance: Fraction = 0.5,
    preset: Preset = "ours",
    teacher: str | None = None,
    task: str = "classification",
) -> Recipe:
    """Logit distillation from a frozen teacher: (1-λ)·weighted CE + λ·T²·KL(teacher ‖ student).

    balance is λ. The paper has T = 5 and λ = 0.5; T² and the batch mean are its released code's.
    Teacher and student see the same draw of each image. The teacher is a finished run (teacher=DIR, or
    networks.teacher.run=DIR); without one it is trained first, by the recipe ``teacher``.
    The student has the budget of the recipe ``student``, so that the two can be compared. Of several labels per image
    (task=multi_label) KL is that of each label (Yang et al. 2023).
    """
    return _distilled(preset, teacher, task, _blkd(temperature, balance), 1 - balance)


@register_recipe(paper=f"{PAPER}, Table 2; Romero et al. 2015")
def fitnet(preset: Preset = "ours", teacher: str | None = None, task: str = "classification") -> Recipe:
    """Weighted CE + 100 times the squared error of the last feature maps, through a 1×1 regressor.

    The released code (preset=paper, official) has the same ratio as 0.01·CE + 1, with batch norm and ReLU behind the
    regressor; under SGD the size of the sum matters too. For masks it is 10 times, beside KL of pixels (CIRKD, Yang et
    al. 2022).
    """
    if preset == "ours" and TASKS[task].needs_masks:
        return _distilled(preset, teacher, task, [{"loss": "kl", "weight": 1.0}, {"loss": "fitnet", "weight": 10.0}])
    if preset == "ours":
        return _distilled(preset, teacher, task, [{"loss": "fitnet", "weight": 100.0}])
    return _distilled(preset, teacher, task, [{"loss": "fitnet", "regressor": "conv_bn_relu"}], 0.01)


@register_recipe(paper=f"{PAPER}, eq. (5), Table 2; Park et al. 2019")
def drkd(preset: Preset = "ours", teacher: str | None = None, task: str = "classification") -> Recipe:
    """Weighted CE + relations between images: 25·distances + 50·angles of their embeddings.

    The released code (preset=paper, official) has 3·CE in this row.
    """
    return _distilled(preset, teacher, task, [_DRKD], 1.0 if preset == "ours" else 3.0)


@register_recipe(paper=f"{PAPER}, Table 3 row BLKD + DRKD")
def kd_drkd(preset: Preset = "ours", teacher: str | None = None, task: str = "classification") -> Recipe:
    """Logit distillation + relations between images."""
    return _distilled(preset, teacher, task, [*_blkd(), _DRKD], 0.5)


@register_recipe(paper=f"{PAPER}, Table 3 row BLKD + CRKD")
def kd_crkd(preset: Preset = "ours", teacher: str | None = None, task: str = "classification") -> Recipe:
    """Logit distillation + relations between channels, whose weight 1000 belongs to the code's form of eq. (8)."""
    return _distilled(preset, teacher, task, [*_blkd(), _CRKD], 0.5)


@register_recipe(paper=f"{PAPER}, eq. (9)")
def d_kd(preset: Preset = "ours", teacher: str | None = None, task: str = "classification") -> Recipe:
    """D-KD: logit distillation + relations between images + relations between channels, 1 : 1 : 1000."""
    return _distilled(preset, teacher, task, [*_blkd(), _DRKD, _CRKD], 0.5)


@register_recipe(paper=f"{PAPER}, Table 2; Xu et al., ECCV 2020")
def sskd(preset: Preset = "ours", teacher: str | None = None, head_epochs: Epochs = None) -> Recipe:
    """Self-supervision: what the teacher says of turned images, and which upright one it finds most alike.

    The teacher's head is trained first, by the recipe ``sskd_head`` for head_epochs (10; the authors' 60), on the
    finished teacher of teacher=DIR or on one that is trained for it. networks.teacher.run=DIR takes a run of
    ``sskd_head`` as it is.
    """
    return _self_supervised(preset, teacher, head_epochs, [])


@register_recipe(paper=f"{PAPER}, Table 3 row SSKD + DRKD")
def sskd_drkd(
    preset: Preset = "ours",
    teacher: str | None = None,
    head_epochs: Epochs = None,
    relations: Relations = "all",
) -> Recipe:
    """Self-supervision + relations between images, of all four views as in the released code, or of the upright one."""
    return _self_supervised(preset, teacher, head_epochs, [{**_DRKD, "images": relations}])


@register_recipe(paper=f"{PAPER}, Table 3 row SSKD + CRKD")
def sskd_crkd(
    preset: Preset = "ours",
    teacher: str | None = None,
    head_epochs: Epochs = None,
    relations: Relations = "all",
) -> Recipe:
    """Self-supervision + relations between channels, of all four views or of the upright one."""
    return _self_supervised(preset, teacher, head_epochs, [{**_CRKD, "images": relations}])


@register_recipe(paper=f"{PAPER}, eq. (10)")
def ssd_kd(
    preset: Preset = "ours",
    teacher: str | None = None,
    head_epochs: Epochs = None,
    relations: Relations = "all",
) -> Recipe:
    """SSD-KD whole: self-supervision (with CE and logits inside) + relations between images and between channels.

    relations says which views of an image the last two see: all four, as in the released code, or the upright one.
    """
    terms = [{**_DRKD, "images": relations}, {**_CRKD, "images": relations}]
    return _self_supervised(preset, teacher, head_epochs, terms)


@register_recipe(paper=f"{PAPER}, section 2.4; Xu et al., ECCV 2020, the teacher's stage")
def sskd_head(preset: Preset = "ours", teacher: str | None = None) -> Recipe:
    """The stage before SSKD: the frozen teacher's head learns to find the upright image of a turned one.

    Cross-entropy of cosines; the teacher is teacher=DIR, or trained first. Nothing selects an epoch, the last counts.
    The authors: SGD at 1e-3 with weight decay 1e-3, a tenth of it from epoch 30 and a hundredth from 45, of 60.
    """
    setting = SETTINGS[_SETTING[preset]]
    ours = preset == "ours"
    batch = {} if ours else {"batch_size": setting.training["batch_size"]}  # else it would get this stage's
    trained = trained_teacher(_SETTING[preset], **batch)
    network = NetworkConfig(backbone=setting.teacher[0], pretrained=setting.teacher[1], trained_by=trained)
    if teacher is not None:
        network = NetworkConfig(run=teacher)
    network = NetworkConfig.model_validate({**network.model_dump(), "frozen": "backbone", "projection": "mlp"})
    stage = {
        "batch_size": _IMAGES,
        "epochs": _head_epochs(preset),
        "optimiser": Adam(lr=1e-3) if ours else SGD(lr=1e-3, momentum=0.9, weight_decay=1e-3),
        "schedule": OneCycle() if ours else MultiStep(epochs=[30, 45]),
        "select": Select(network="teacher", metric="last"),
        "early_stop": None,
    }
    return Recipe(
        name="sskd_head",
        networks={"teacher": network},
        views={"teacher": View(policy=setting.policy, extra_transforms=TURNS)},
        objectives=[Objective.model_validate({"loss": "sskd_pretext", "of": "teacher"})],
        **{**setting.training, **stage},
    )


def _head_epochs(preset: Preset) -> int:
    return 10 if preset == "ours" else 60


_DRKD: dict[str, Any] = {"loss": "drkd", "weight": 1.0}
_CRKD: dict[str, Any] = {"loss": "crkd", "weight": 1000.0}


def _blkd(temperature: float = 5.0, balance: float = 0.5) -> list[dict[str, Any]]:
    """The teacher's part of eq. (4); the task's own has 1 - λ."""
    return [{"loss": "kl", "weight": balance, "temperature": temperature}]


def _sskd() -> list[dict[str, Any]]:
    """Xu et al. 2020 with the authors' weights and temperatures, beside 0.1·CE: upright and turned logits, and
    similarities."""
    return [
        {"loss": "kl", "weight": 0.9, "temperature": 4.0},
        {"loss": "sskd_logits", "weight": 2.7, "temperature": 4.0, "keep": 1.0},
        {"loss": "sskd_similarity", "weight": 10.0, "temperature": 0.5, "keep": 0.75},
    ]


def _self_supervised(
    preset: Preset, teacher: str | None, head_epochs: int | None, terms: list[dict[str, Any]]
) -> Recipe:
    """SSKD and what is added to it: four views of each image, and heads on both networks."""
    stage: dict[str, Any] = {"epochs": head_epochs or _head_epochs(preset), "preset": preset}
    if teacher is not None:
        stage["teacher"] = teacher
    recipe = _distilled(preset, None, "classification", [*_sskd(), *terms], 0.1)
    networks = {
        "teacher": recipe.networks["teacher"].model_copy(
            update={"projection": "mlp", "trained_by": TrainedBy(recipe="sskd_head", set=stage)}
        ),
        "student": recipe.networks["student"].model_copy(update={"projection": "mlp"}),
    }
    student = recipe.views["student"].model_copy(update={"extra_transforms": TURNS})
    return recipe.model_copy(
        update={"networks": networks, "views": {**recipe.views, "student": student}, "batch_size": _IMAGES}
    )


def _distilled(preset: Preset, teacher: str | None, task: str, terms: list[dict[str, Any]], own: float = 1.0) -> Recipe:
    """``own`` times the loss of the task itself, and some terms, in a preset's setting."""
    return distil(*terms, task=task, teacher=teacher, own=own, setting=_SETTING[preset])
