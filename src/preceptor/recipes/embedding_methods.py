"""Distillation without labels from any network that gives embeddings, and what is made of the student afterwards.

The first stage learns from all images that nobody is judged by, also those without a label; the second from the
labelled ones, all of the network (``embedding_finetune``) or a linear classifier on it (``embedding_probe``).
"""

from __future__ import annotations

from typing import Any, Literal

from preceptor.recipe import AdamW, Cosine, NetworkConfig, Objective, Positive, Recipe, Select, TrainedBy, View
from preceptor.recipes.registry import register_recipe
from preceptor.recipes.supervised import student
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError

_DINO = "vit_small_patch14_dinov2.lvd142m"
#: Terms of the versions of lightly-train, and the rate of version 3's AdamW at a batch of 1536.
_TERMS: dict[int, tuple[str, ...]] = {
    1: ("embedding_kd",),
    2: ("embedding_kd_maps",),
    3: ("embedding_kd", "embedding_kd_tokens"),
}
_LR, _BATCH = 5e-4, 128


@register_recipe(paper="Fang et al., SEED, ICLR 2021; as in lightly-train (Lightly 2025)")
def embedding_kd(
    embedder: str = _DINO,
    weights: str = "imagenet",
    queue: Positive = 2048,
    version: Literal[1, 2, 3] = 3,
    unlabelled: bool = True,
    task: str = "classification",
) -> Recipe:
    """Label-free distillation: the student's similarities to a queue of images, and between places, as the teacher's.

    embedder is any backbone of timm, weights its own ("imagenet") or a file. version is lightly-train's: 1 the queue
    alone, 2 the teacher's last two maps themselves, 3 queue and places; AdamW is 3's. queue is for about 4,000 to
    10,000 images. No label has a part in it, and nothing selects an epoch. The classifier is not trained.
    """
    teacher = NetworkConfig(backbone=embedder, pretrained=weights, frozen=True, input_size=224)
    recipe = _student(task)
    terms = [{"loss": loss, **({"queue": queue} if loss == "embedding_kd" else {})} for loss in _TERMS[version]]
    changes: dict[str, Any] = {
        "networks": {"teacher": teacher, **recipe.networks},
        "views": {"student": View(policy="dermoscopy", mixup=1.0), "teacher": View(same_as="student")},
        "objectives": [Objective.model_validate({**term, "from": "teacher", "to": "student"}) for term in terms],
        "batch_size": _BATCH,
        "unlabelled": unlabelled,
        "optimiser": AdamW(lr=round(_LR * (_BATCH / 1536) ** 0.5, 5), weight_decay=1e-6, clip_norm=1.0),
        "schedule": Cosine(warmup=2),
        "select": Select(network="student", metric="last"),
    }
    return recipe.model_copy(update=changes)


@register_recipe(paper="Fang et al., SEED, ICLR 2021, second stage")
def embedding_finetune(
    embedder: str = _DINO,
    weights: str = "imagenet",
    queue: Positive = 2048,
    start_epochs: Positive = 60,
    unlabelled: bool = True,
    task: str = "classification",
) -> Recipe:
    """A student that starts from ``embedding_kd`` and is then trained on the labels, as the recipe ``student`` is."""
    first = {"embedder": embedder, "weights": weights, "queue": queue, "unlabelled": unlabelled, "epochs": start_epochs}
    return _second_stage(first, task)


@register_recipe(paper="Fang et al., SEED, ICLR 2021, linear evaluation")
def embedding_probe(
    embedder: str = _DINO,
    weights: str = "imagenet",
    queue: Positive = 2048,
    start_epochs: Positive = 60,
    unlabelled: bool = True,
    task: str = "classification",
) -> Recipe:
    """A linear probe: a classifier on the features of ``embedding_kd``, which stay as they are.

    It measures what was learned without labels; networks.student.frozen=features probes a network of any recipe.
    """
    first = {"embedder": embedder, "weights": weights, "queue": queue, "unlabelled": unlabelled, "epochs": start_epochs}
    return _second_stage(first, task, frozen="features")


def _student(task: str) -> Recipe:
    if TASKS[task].needs_masks:
        raise PreceptorError(
            f"task: {task} has no form of label-free distillation, whose embeddings are of whole images",
            expected="a task whose images have labels",
        )
    return student(task=task)


def _second_stage(first: dict[str, Any], task: str, frozen: Literal[False, "features"] = False) -> Recipe:
    """Return the recipe ``student`` with a network that ``embedding_kd`` has trained first."""
    recipe = _student(task)
    network = recipe.networks["student"].model_dump(exclude_defaults=True)
    started = NetworkConfig(**network, frozen=frozen, trained_by=TrainedBy(recipe="embedding_kd", set=first))
    return recipe.model_copy(update={"networks": {"student": started}})
