"""Distillation of features: maps, embeddings and their relations, from a frozen teacher.

Weights are those of the common benchmarks, RepDistiller (CE 1 + the method) or SimKD's (CE 1 + KD 1 + the method), and
belong to the forms of the losses here. ``kd`` adds T²·KL of the logits at T = 4. Teacher, student and budget are those
of the recipe ``kd``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from preceptor.recipe import NetworkConfig, Positive, Ramp, Recipe, Select, TrainedBy
from preceptor.recipes.distillation import distil
from preceptor.recipes.registry import register_recipe
from preceptor.recipes.supervised import student as student_alone
from preceptor.tasks import TASKS

Weight = Annotated[float, Field(ge=0)]


@register_recipe(paper="Zagoruyko and Komodakis, Paying more attention to attention, ICLR 2017")
def at(teacher: str | None = None, kd: Weight | None = None, task: str = "classification") -> Recipe:
    """Attention transfer: CE + 1000·MSE of the unit attention maps, the mean of squares over channels, of four stages.

    For masks one map is compared, that of the first decoder block, with 10,000, beside KL of pixels at T = 1 (CIRKD,
    Yang et al. 2022); kd is 0 for classes and 1 for masks unless given.
    """
    if TASKS[task].needs_masks:
        pixels = [{"loss": "kl", "weight": 1.0 if kd is None else kd}] if kd != 0 else []
        return distil(*pixels, {"loss": "at", "weight": 1e4, "features": ["decoder1"]}, task=task, teacher=teacher)
    return distil({"loss": "at", "weight": 1000.0}, task=task, teacher=teacher, kd=kd or 0.0)


@register_recipe(paper="Tung and Mori, Similarity-preserving knowledge distillation, ICCV 2019")
def sp(teacher: str | None = None, kd: Weight = 0.0, task: str = "classification") -> Recipe:
    """Similarity preserving: CE + 3000·‖G_t - G_s‖² / B² of the row-normalised Gram matrices of the last maps."""
    return distil({"loss": "sp", "weight": 3000.0}, task=task, teacher=teacher, kd=kd)


@register_recipe(paper="Ahn et al., Variational information distillation, CVPR 2019")
def vid(teacher: str | None = None, kd: Weight = 0.0, task: str = "classification") -> Recipe:
    """Variational information distillation: CE + the Gaussian likelihood of the teacher's four stages.

    The student predicts their mean; the variance of each channel is learned. For masks the stages are the encoder's.
    """
    return distil({"loss": "vid", "weight": 1.0}, task=task, teacher=teacher, kd=kd)


@register_recipe(paper="Yang et al., Softmax regression representation learning, ICLR 2021")
def srrl(teacher: str | None = None, kd: Weight = 0.0) -> Recipe:
    """SRRL: CE + MSE of embeddings + MSE of the logits that the teacher's classifier makes of the student's."""
    return distil({"loss": "srrl", "weight": 1.0}, teacher=teacher, kd=kd)


@register_recipe(paper="Chen et al., Knowledge distillation with the reused teacher classifier, CVPR 2022")
def simkd(teacher: str | None = None) -> Recipe:
    """SimKD: the student learns the teacher's last map and ends in the teacher's own classifier.

    No label has a part in it, so that class weights cannot act. Projector and classifier belong to the student: its
    cost and its export have them.
    """
    recipe = distil({"loss": "feature_mse"}, teacher=teacher, own=0.0)
    student = recipe.networks["student"].model_copy(update={"classifier_of": "teacher"})
    return recipe.model_copy(update={"networks": {**recipe.networks, "student": student}})


@register_recipe(paper="Chen et al., Cross-layer distillation with semantic calibration, AAAI 2021")
def semckd(teacher: str | None = None, kd: Weight = 1.0, middle_width: Positive = 256) -> Recipe:
    """SemCKD: CE + KD + 400 times the error of all pairs of stages, weighted by attention between their similarities.

    The batch size is part of its weights: the last, smaller batch of an epoch is left out. middle_width bounds the
    projectors, which have up to 854 million parameters from ResNet50 to ResNet18 without (ours).
    """
    term = {"loss": "semckd", "weight": 400.0, "middle_width": middle_width}
    return distil(term, teacher=teacher, kd=kd).model_copy(update={"drop_last": True})


@register_recipe(paper="Passalis and Tefas, Probabilistic knowledge transfer, ECCV 2018")
def pkt(teacher: str | None = None, kd: Weight = 0.0) -> Recipe:
    """Probabilistic knowledge transfer: CE + 30,000 times the divergence of cosine affinities between images."""
    return distil({"loss": "pkt", "weight": 3e4}, teacher=teacher, kd=kd)


@register_recipe(paper="Peng et al., Correlation congruence for knowledge distillation, ICCV 2019")
def cc(teacher: str | None = None, kd: Weight = 0.0) -> Recipe:
    """Correlation congruence: CE + 0.003·‖K_s - K_t‖ / B² of a Gaussian kernel between embeddings (as torchdistill)."""
    return distil({"loss": "cc", "weight": 0.003}, teacher=teacher, kd=kd)


@register_recipe(paper="Chen et al., Distilling knowledge via knowledge review, CVPR 2021")
def reviewkd(teacher: str | None = None, kd: Weight = 0.0, middle_channels: Positive = 256) -> Recipe:
    """Knowledge review: CE + 8 times the error of fused maps, from the embedding down to the first stage.

    Weight and width are the paper's for MobileNets (1 and 512 from ResNet34 to ResNet18); 20 epochs of warm-up.
    """
    weight = Ramp(ramp="linear", epochs=20, to=8.0)
    term = {"loss": "reviewkd", "weight": weight, "middle_channels": middle_channels}
    return distil(term, teacher=teacher, kd=kd)


@register_recipe(paper="Yim et al., A gift from knowledge distillation, CVPR 2017, first stage")
def fsp_start(teacher: str | None = None, adapters: bool = True) -> Recipe:
    """The first stage of FSP: the student learns the flow between the teacher's stages, and nothing else.

    The paper's networks have equal widths; adapters are 1×1 convolutions (ours) that bring the student's channels to
    the teacher's. Nothing selects an epoch, the last counts.
    """
    recipe = distil({"loss": "fsp", "adapters": adapters}, teacher=teacher, own=0.0)
    return recipe.model_copy(update={"epochs": 30, "select": Select(network="student", metric="last")})


@register_recipe(paper="Yim et al., A gift from knowledge distillation, CVPR 2017")
def fsp(teacher: str | None = None, start_epochs: Positive = 30, adapters: bool = True) -> Recipe:
    """FSP: a student that starts from ``fsp_start``, 30 epochs of the teacher's flow, then learns from labels alone."""
    recipe = student_alone()
    stage = {"epochs": start_epochs, "adapters": adapters, **({} if teacher is None else {"teacher": teacher})}
    network = recipe.networks["student"].model_dump(exclude_defaults=True)
    started = NetworkConfig(**network, trained_by=TrainedBy(recipe="fsp_start", set=stage))
    return recipe.model_copy(update={"networks": {"student": started}})
