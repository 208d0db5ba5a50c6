"""Other teachers than one at its best beside a single student: assistants, several, a calibrated or a patient one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from preceptor.recipe import AdamW, Cosine, Fraction, NetworkConfig, Recipe, TrainedBy, View
from preceptor.recipes.distillation import distil, frozen_teacher
from preceptor.recipes.registry import register_recipe
from preceptor.tasks import TASKS

Temperature = Annotated[float, Field(gt=0)]
Runs = Annotated[list[str], Field(min_length=2)]


@register_recipe(paper="Mirzadeh et al., Improved knowledge distillation via teacher assistant, AAAI 2020")
def takd(
    teacher: str | None = None,
    assistant: str = "mobilenetv2_075",
    temperature: Temperature = 5.0,
    balance: Fraction = 0.5,
    task: str = "classification",
) -> Recipe:
    """Teaching assistant: the teacher teaches a network of middle size, and that one the student, each by ``kd``.

    assistant is its backbone; for a ResNet50 and a ResNet18 it would be a ResNet34. The paper searches temperature and
    balance, which hold for both links.
    """
    link: dict[str, Any] = {"temperature": temperature, "balance": balance}
    stage = TrainedBy(recipe="kd", set={**link, **({} if teacher is None else {"teacher": teacher})})
    between = NetworkConfig(backbone=assistant, frozen=True, trained_by=stage)
    kl = {"loss": "kl", "weight": balance, "temperature": temperature}
    return distil(kl, task=task, own=1 - balance, teachers={"assistant": between})


@register_recipe(paper="Hinton et al. 2015 with several teachers; You et al., KDD 2017")
def multi_teacher(
    teachers: Runs | None = None,
    temperature: Temperature = 5.0,
    balance: Fraction = 0.5,
    heads: Literal["shared", "each"] = "shared",
    task: str = "classification",
) -> Recipe:
    """Several teachers: ``kd`` from the mean of their probabilities, or by a classifier for each of them.

    teachers are finished runs; without them two are trained first, on a MobileNetV2 and a ResNet18. The gradient is
    that of the KL from the mean; objectives.kl.from={teacher_1: 0.7, teacher_2: 0.3} weighs them. heads=each gives the
    student a classifier for each teacher, which learns from it alone; it predicts the mean of their probabilities.
    """
    first = frozen_teacher(None)
    trained = [first, first.model_copy(update={"backbone": "resnet18"})]
    networks = trained if teachers is None else [frozen_teacher(run) for run in teachers]
    named = {f"teacher_{place}": network for place, network in enumerate(networks, start=1)}
    kl = {"loss": "kl", "weight": balance, "temperature": temperature}
    recipe = distil(kl, task=task, own=1 - balance, teachers=named)
    if heads == "shared":
        return recipe
    student = recipe.networks["student"].model_copy(update={"heads": tuple(named)})
    return recipe.model_copy(update={"networks": {**recipe.networks, "student": student}})


@register_recipe(paper="Guo et al., On calibration of modern neural networks, ICML 2017; Hinton et al. 2015")
def calibrated_teacher(
    teacher: str | None = None,
    temperature: Temperature = 5.0,
    balance: Fraction = 0.5,
    task: str = "classification",
) -> Recipe:
    """A temperature-fitted teacher: ``kd`` from logits divided by T*, fitted on the validation part, and then by T.

    T* minimises the negative log-likelihood without class weights; ``networks.NAME.calibrated=true`` does the same for
    the teacher of any recipe on logits. temperature=1 distils the calibrated probabilities as they are.
    """
    kl = {"loss": "kl", "weight": balance, "temperature": temperature}
    fitted = frozen_teacher(teacher).model_copy(update={"calibrated": True})
    return distil(kl, task=task, own=1 - balance, teachers={"teacher": fitted})


@register_recipe(paper="Beyer et al., Knowledge distillation: a good teacher is patient and consistent, CVPR 2022")
def patient_teacher(teacher: str | None = None, temperature: Temperature = 5.0, task: str = "classification") -> Recipe:
    """A patient and consistent teacher: KL alone, on the same mixed, strongly cropped image, over a very long schedule.

    The figures are the paper's for small sets (Pet, 1000 epochs): T = 5, rate 0.01, gradients of norm 1, a decay of
    0.001, which is not times the rate as AdamW's is. Crops have 5 to 100 % of the area. Other lengths (T, rate): 3000
    epochs (10, 0.003), 30,000 (2, 0.003).
    """
    recipe = distil({"loss": "kl", "temperature": temperature}, task=task, teacher=teacher, own=0.0)
    mixup = None if TASKS[task].needs_masks else 1.0
    return recipe.model_copy(
        update={
            "views": {**recipe.views, "student": View(policy="patient", mixup=mixup)},
            "epochs": 1000,
            "optimiser": AdamW(
                lr=0.01, weight_decay=0.1, clip_norm=1.0
            ),  # the paper's decay 0.001 is not times the rate
            "schedule": Cosine(warmup=20),
        }
    )
