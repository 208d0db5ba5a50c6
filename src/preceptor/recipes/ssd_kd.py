"""SSD-KD and its parts: a frozen teacher, a smaller student.

Y. Wang et al., "SSD-KD: A self-supervised diverse knowledge distillation method for lightweight skin lesion
classification using dermoscopic images", Medical Image Analysis 2023 (arXiv 2203.11490).
"""

from __future__ import annotations

from preceptor.recipe import Adam, Fraction, Network, Objective, OneCycle, Recipe, TrainedBy, View
from preceptor.recipes.registry import register_recipe
from preceptor.recipes.supervised import WEIGHTED_CE

PAPER = "Wang et al., SSD-KD, Medical Image Analysis 2023"


@register_recipe(paper=f"{PAPER}, eq. (4) (BLKD); Hinton et al. 2015")
def kd(temperature: float = 5.0, balance: Fraction = 0.5) -> Recipe:
    """Logit distillation from a frozen teacher: (1-λ)·weighted CE + λ·T²·KL(teacher ‖ student).

    balance is λ. The paper has T = 5 and λ = 0.5; T² and the batch mean are its released code's.
    Teacher and student see the same draw of each image. The teacher is a finished run
    (networks.teacher.run=DIR); without one it is trained first, by the recipe ``teacher``.
    The student has the budget of the recipe ``student``, so that the two can be compared.
    """
    return Recipe(
        name="kd",
        networks={
            "teacher": Network(
                backbone="mobilenetv2_100", pretrained="imagenet", frozen=True, trained_by=TrainedBy(recipe="teacher")
            ),
            "student": Network(backbone="mobilenetv2_050"),
        },
        views={"student": View(policy="dermoscopy"), "teacher": View(same_as="student")},
        objectives=[
            Objective.model_validate({**WEIGHTED_CE, "of": "student", "weight": 1 - balance}),
            Objective.model_validate(
                {"loss": "kl", "from": "teacher", "to": "student", "weight": balance, "temperature": temperature}
            ),
        ],
        optimiser=Adam(lr=1e-3, weight_decay=1e-4),
        schedule=OneCycle(),
    )
