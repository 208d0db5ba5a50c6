"""CRCKD and its baselines: a student and the running mean of itself.

X. Xing et al., "Categorical Relation-Preserving Contrastive Knowledge Distillation for Medical Image
Classification", MICCAI 2021 (arXiv 2107.03225). Table 1 has eight rows: B1 is the recipe ``student`` with the
backbone used here, the other seven are below. All are eq. (6) with some of its terms, or with another in their place.

``preset`` says whose settings hold where text and released code differ. ``paper``: Adam (0.5, 0.999) at 1e-4, ramps
over the first ``ramp_epochs`` epochs, averaged batch-norm statistics. ``ours`` (the default) is the same but for CRP's
temperature 0.07, which is the code's: without one the relations are nearly flat and CRP is a fifth of a percent of the
loss. ``official``: weight decay 5e-4, one-cycle with peak 3e-4 that cycles β1 too, weighted CE and CCD alone for the
first 20 epochs, ramps that count from epoch 0 all the same, a 128-d layer before the classifier, a teacher on batch
statistics, the code's two augmentations.
"""

from __future__ import annotations

from typing import Any, Literal

from preceptor.recipe import NetworkConfig, Objective, Positive, Ramp, Recipe, Steps, View
from preceptor.recipes.distillation import for_task
from preceptor.recipes.registry import register_recipe
from preceptor.recipes.settings import SETTINGS
from preceptor.tasks import TASKS

PAPER = "Xing et al., CRCKD, MICCAI 2021"
Preset = Literal["ours", "paper", "official"]

_BACKBONE = "densenet121"
_OFFICIAL_WARM_UP = 20  # epochs of weighted CE and CCD alone in the released code


@register_recipe(paper=f"{PAPER}, Table 1 row B2; Tarvainen and Valpola 2017")
def mean_teacher(
    preset: Preset = "ours", ramp_epochs: Positive = 30, backbone: str = _BACKBONE, task: str = "classification"
) -> Recipe:
    """CRCKD's B2: weighted CE + KL(mean teacher ‖ student), the KL ramped up over the first epochs.

    The mean teacher averages batch-norm statistics with the weights (batch_norm: averaged). Averaged weights
    beside the student's own statistics predict near chance for several epochs and teach noise; the released
    code runs its teacher on batch statistics (batch_norm: batch). Student and teacher see two draws of an image.
    """
    return _recipe(preset, ramp_epochs, backbone, task=task)


@register_recipe(paper=f"{PAPER}, Table 1 row B2 + CCD, eqs. (1) and (2)")
def mt_ccd(preset: Preset = "ours", ramp_epochs: Positive = 30, backbone: str = _BACKBONE) -> Recipe:
    """B2 + class-guided contrastive distillation from memory banks, both sides.

    Weight 0.1, then 0.01 from epoch ramp_epochs (official: 20). Z, which the text omits, is set by the first batch.
    """
    return _recipe(preset, ramp_epochs, backbone, [_ccd(preset, ramp_epochs)])


@register_recipe(paper=f"{PAPER}, Table 1 row B2 + CRP, eqs. (3) to (5)")
def mt_crp(preset: Preset = "ours", ramp_epochs: Positive = 30, backbone: str = _BACKBONE) -> Recipe:
    """B2 + categorical relation preserving: relations to the class centroids of each network's own bank.

    The text compares plain cosines; the code lets rows pass ReLU, divides by 0.07 and reads the banks after their
    update (variant: official). The default is the text's form at the code's temperature.
    """
    return _recipe(preset, ramp_epochs, backbone, [_crp(preset, ramp_epochs)])


@register_recipe(paper=f"{PAPER}, eq. (6), Table 1 row B2 + CCD + CRP")
def crckd(preset: Preset = "ours", ramp_epochs: Positive = 30, backbone: str = _BACKBONE) -> Recipe:
    """CRCKD whole: weighted CE + KL + class-guided contrast + categorical relations."""
    return _recipe(preset, ramp_epochs, backbone, [_ccd(preset, ramp_epochs), _crp(preset, ramp_epochs)])


@register_recipe(paper=f"{PAPER}, Table 1 row B2 + CRD; Tian et al. 2020")
def mt_crd(preset: Preset = "ours", ramp_epochs: Positive = 30, backbone: str = _BACKBONE) -> Recipe:
    """B2 + contrastive representation distillation: the image itself is the one positive; 4096 negatives."""
    crd = {"loss": "crd", "negatives": 4096, "weight": _contrast_weight(preset, ramp_epochs)}
    return _recipe(preset, ramp_epochs, backbone, [crd])


@register_recipe(paper=f"{PAPER}, Table 1 row B2 + SP; Tung and Mori 2019")
def mt_sp(
    preset: Preset = "ours", ramp_epochs: Positive = 30, backbone: str = _BACKBONE, task: str = "classification"
) -> Recipe:
    """B2 + similarity preserving: row-normalised Gram matrices of the last maps, squared difference / B².

    The released code (preset=official) compares the 128-d embeddings.
    """
    loss = "sp_embedding" if preset == "official" and not TASKS[task].needs_masks else "sp"
    return _recipe(preset, ramp_epochs, backbone, [{"loss": loss, "weight": _ramp(preset, ramp_epochs)}], task)


@register_recipe(paper=f"{PAPER}, Table 1 row B2 + FitNet; Romero et al. 2015")
def mt_fitnet(
    preset: Preset = "ours", ramp_epochs: Positive = 30, backbone: str = _BACKBONE, task: str = "classification"
) -> Recipe:
    """B2 + the authors' FitNet baseline: 0.1·Σ(f_s - f_t)² / B on embeddings."""
    fitnet = {"loss": "fitnet_embedding", "weight": _ramp(preset, ramp_epochs, to=0.1)}
    return _recipe(preset, ramp_epochs, backbone, [fitnet], task)


def _recipe(
    preset: Preset,
    ramp_epochs: int,
    backbone: str,
    terms: list[dict[str, Any]] | None = None,
    task: str = "classification",
) -> Recipe:
    """B2 and what is added to it. For masks both networks see one draw: they are compared place by place."""
    official, terms = preset == "official", terms or []
    setting = SETTINGS["crckd_official" if official else "crckd"]
    kl = for_task({"loss": "kl", "weight": _ramp(preset, ramp_epochs)}, task)
    with_banks = any(term["loss"] in ("ccd", "crd", "crp") for term in terms)
    teachers_view = View(policy="crckd_official_teacher" if official else "crckd")
    return Recipe(
        name="mean_teacher",
        task=task,
        networks={
            "student": NetworkConfig(
                backbone=backbone,
                pretrained="imagenet",
                projection=128 if with_banks else None,
                bottleneck=None if TASKS[task].needs_masks else setting.bottleneck,
            ),
            "teacher": NetworkConfig(mean_of="student", decay=0.99, batch_norm="batch" if official else "averaged"),
        },
        views={
            "student": View(policy=setting.policy),
            "teacher": View(same_as="student") if TASKS[task].needs_masks else teachers_view,
        },
        objectives=[
            *(Objective.model_validate(term) for term in TASKS[task].default_objectives("student")),
            *(Objective.model_validate({**term, "from": "teacher", "to": "student"}) for term in (kl, *terms)),
        ],
        **setting.fields(task),
    )


def _ramp(preset: Preset, ramp_epochs: int, to: float = 1.0) -> Ramp:
    """λ1 and λ3: 0 → 1 as exp(-5(1-t/30)²); the released code's is switched on at epoch 20, at .574."""
    return Ramp(ramp="gaussian", epochs=ramp_epochs, to=to, on=_OFFICIAL_WARM_UP if preset == "official" else 0)


def _contrast_weight(preset: Preset, ramp_epochs: int) -> Steps:
    """λ2: 0.1, then 0.01."""
    return Steps(steps={0: 0.1, _OFFICIAL_WARM_UP if preset == "official" else ramp_epochs: 0.01})


def _ccd(preset: Preset, ramp_epochs: int) -> dict[str, Any]:
    weight = _contrast_weight(preset, ramp_epochs)
    return {"loss": "ccd", "weight": weight, "positives": 20, "negatives": 4096, "temperature": 0.07}


def _crp(preset: Preset, ramp_epochs: int) -> dict[str, Any]:
    if preset == "official":  # at full weight once the warm-up is over
        return {"loss": "crp", "weight": Steps(steps={0: 0.0, _OFFICIAL_WARM_UP: 1.0}), "variant": "official"}
    text = {"loss": "crp", "weight": _ramp(preset, ramp_epochs), "variant": "paper"}
    return text if preset == "paper" else {**text, "temperature": 0.07}
