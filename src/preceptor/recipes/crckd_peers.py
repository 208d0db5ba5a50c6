"""What CRCKD's Table 2 compares it with: SRC-MT, and three networks that distil nothing.

The table gives no settings for them. SRC-MT and the attention network follow their authors' code. Of synergic learning
and attention residual learning no code of the authors was found: ours are in the manner of their papers, and what is
ours or from memory is marked [?].
"""

from __future__ import annotations

from typing import Any

from preceptor.recipe import (
    SGD,
    Adam,
    Exponential,
    MultiStep,
    NetworkConfig,
    Objective,
    Positive,
    Ramp,
    Recipe,
    Select,
    View,
)
from preceptor.recipes.registry import register_recipe
from preceptor.tasks import TASKS

TABLE = "a row of Xing et al., CRCKD, MICCAI 2021, Table 2"
_TASK = "classification"


@register_recipe(paper=f"Liu et al., SRC-MT, TMI 2020; {TABLE}")
def src_mt(ramp_epochs: Positive = 30, backbone: str = "densenet121") -> Recipe:
    """SRC-MT, all images labelled: CE + class-weighted consistency with a mean teacher + relations between images.

    Both parts are switched on at epoch 20, as in the authors' code, whose teacher runs on batch statistics.
    """
    on = 20 * ramp_epochs // 30
    term = {"loss": "src_mt", "weight": Ramp(ramp="gaussian", epochs=ramp_epochs, on=on)}
    mean = NetworkConfig(mean_of="student", decay=0.99, batch_norm="batch")
    return Recipe(
        name="src_mt",
        batch_size=48,
        epochs=100,
        networks={"student": _imagenet(backbone, dropout=0.2), "teacher": mean},
        views={"student": View(policy="crckd"), "teacher": View(policy="crckd")},
        objectives=[_task("student"), _objective({**term, "from": "teacher", "to": "student"})],
        optimiser=Adam(lr=1e-4, weight_decay=5e-4),
        schedule=Exponential(factor=0.9),
    )


@register_recipe(paper=f"Yan et al., Melanoma recognition via visual attention, IPMI 2019; {TABLE}")
def attention(backbone: str = "attention_vgg16_bn") -> Recipe:
    """VGG16 with two attention gates and focal loss, without the lesion masks that guide it in the paper.

    SGD with Nesterov momentum at 0.01, a tenth every ten of 50 epochs. The paper tells melanoma from the rest; with
    more classes only the last layer changes [?].
    """
    focal = {"loss": "focal", "gamma": 2.0, "of": "student"}
    optimiser = SGD(lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    return _alone(backbone, focal, "attention", 50, optimiser, MultiStep(epochs=[10, 20, 30, 40]))


@register_recipe(paper=f"Zhang et al., Attention residual learning, TMI 2019; {TABLE}")
def attention_residual(backbone: str = "arl_resnet50") -> Recipe:
    """In the manner of attention residual learning: a ResNet50 whose blocks attend to their own input, and CE.

    The rates are those of an unofficial copy (SGD at 1e-4, halved at 30, 60 and 90 of 100 epochs) [?].
    """
    ce = TASKS[_TASK].default_objectives("student")[0]
    optimiser = SGD(lr=1e-4, momentum=0.9, weight_decay=1e-4)
    return _alone(backbone, ce, "crckd", 100, optimiser, MultiStep(epochs=[30, 60, 90], factor=0.5))


@register_recipe(paper=f"Zhang et al., Synergic deep learning, MedIA 2019; {TABLE}")
def synergic(backbone: str = "resnet50") -> Recipe:
    """In the manner of synergic learning: two networks, and whether their two images are of one class.

    Known: two ImageNet ResNet50 and a binary cross-entropy on both embeddings. Its weight 3 is from memory, rate and
    schedule are those of ``attention_residual`` [?]; the joint prediction is the largest probability, not the mean.
    """
    pair = {"loss": "synergic", "weight": 3.0, "from": "student_1", "to": "student_2"}
    names = ["student_1", "student_2"]
    return Recipe(
        name="synergic",
        epochs=100,
        networks=dict.fromkeys(names, _imagenet(backbone)),
        views=dict.fromkeys(names, View(policy="crckd")),
        objectives=[_task("student_1", "_1"), _task("student_2", "_2"), _objective(pair)],
        optimiser=SGD(lr=1e-4, momentum=0.9, weight_decay=1e-4),
        schedule=MultiStep(epochs=[30, 60, 90], factor=0.5),
        select=Select(network=names),
        ensembles={"ensemble": names},
    )


def _alone(
    backbone: str, loss: dict[str, Any], policy: str, epochs: int, optimiser: SGD, schedule: MultiStep
) -> Recipe:
    return Recipe(
        name="alone",
        epochs=epochs,
        networks={"student": _imagenet(backbone)},
        views={"student": View(policy=policy)},
        objectives=[_objective(loss)],
        optimiser=optimiser,
        schedule=schedule,
    )


def _imagenet(backbone: str, dropout: float = 0.0) -> NetworkConfig:
    return NetworkConfig(backbone=backbone, pretrained="imagenet", dropout=dropout)


def _task(network: str, suffix: str = "") -> Objective:
    return _objective(TASKS[_TASK].default_objectives(network, suffix=suffix)[0])


def _objective(term: dict[str, Any]) -> Objective:
    return Objective.model_validate(term)
