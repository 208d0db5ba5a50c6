"""CRCKD and its baselines: a student and the running mean of itself.

X. Xing et al., "Categorical Relation-Preserving Contrastive Knowledge Distillation for Medical Image
Classification", MICCAI 2021 (arXiv 2107.03225).
"""

from __future__ import annotations

from preceptor.recipe import Adam, Network, Objective, OneCycle, Ramp, Recipe, View
from preceptor.recipes.registry import register_recipe
from preceptor.recipes.supervised import WEIGHTED_CE

PAPER = "Xing et al., CRCKD, MICCAI 2021"


@register_recipe(paper=f"{PAPER}, Table 1 row B2; Tarvainen and Valpola 2017")
def mean_teacher(ramp_epochs: int = 30) -> Recipe:
    """CRCKD's B2: weighted CE + KL(mean teacher ‖ student), the KL ramped up over the first epochs.

    The mean teacher averages batch-norm statistics with the weights (batch_norm: averaged). Averaged weights
    beside the student's own statistics predict near chance for several epochs and teach noise; the released
    code runs its teacher on batch statistics (batch_norm: batch). Student and teacher see two draws of an image.
    """
    return Recipe(
        name="mean_teacher",
        batch_size=64,
        epochs=80,
        networks={
            "student": Network(backbone="mobilenetv2_100", pretrained="imagenet"),
            "teacher": Network(mean_of="student", decay=0.99, batch_norm="averaged"),
        },
        views={"student": View(policy="crckd"), "teacher": View(policy="crckd")},
        objectives=[
            Objective.model_validate({**WEIGHTED_CE, "of": "student"}),
            Objective.model_validate(
                {"loss": "kl", "from": "teacher", "to": "student", "weight": Ramp(ramp="gaussian", epochs=ramp_epochs)}
            ),
        ],
        optimiser=Adam(lr=3e-4, weight_decay=5e-4),
        schedule=OneCycle(),
    )
