"""Distillation without labels from any network that gives embeddings, and what is made of the student afterwards."""

from __future__ import annotations

from typing import Any

from preceptor.recipe import AdamW, Cosine, NetworkConfig, Objective, Positive, Recipe, Select, TrainedBy, View
from preceptor.recipes.registry import register_recipe
from preceptor.recipes.supervised import student as student_alone

_DINO = "vit_small_patch14_dinov2.lvd142m"


@register_recipe(paper="Fang et al., SEED, ICLR 2021; as in lightly-train, version 3 (Lightly 2025)")
def embedding_kd(
    embedder: str = _DINO, weights: str = "imagenet", queue: Positive = 2048, tokens: bool = True
) -> Recipe:
    """Label-free distillation: the student's similarities to a queue of images, and between places, as the teacher's.

    embedder is any backbone of timm, weights its own ("imagenet") or a file. No label has a part in it, and nothing
    selects an epoch. queue is for about 4,000 to 10,000 images. The student's classifier is not trained: see
    ``embedding_finetune``.
    """
    teacher = NetworkConfig(backbone=embedder, pretrained=weights, frozen=True, input_size=224)
    terms: list[dict[str, Any]] = [
        {"loss": "embedding_kd", "queue": queue},
        *([{"loss": "embedding_kd_tokens"}] if tokens else []),
    ]
    recipe = student_alone()
    return recipe.model_copy(
        update={
            "networks": {"teacher": teacher, **recipe.networks},
            "views": {"student": View(policy="dermoscopy", mixup=1.0), "teacher": View(same_as="student")},
            "objectives": [Objective.model_validate({**term, "from": "teacher", "to": "student"}) for term in terms],
            "batch_size": 128,
            "optimiser": AdamW(lr=1.4e-4, weight_decay=1e-6, clip_norm=1.0),  # 5e-4·√(128/1536)
            "schedule": Cosine(warmup=2),
            "select": Select(network="student", metric="last"),
        }
    )


@register_recipe(paper="Fang et al., SEED, ICLR 2021, second stage")
def embedding_finetune(
    embedder: str = _DINO, weights: str = "imagenet", queue: Positive = 2048, start_epochs: Positive = 60
) -> Recipe:
    """A student that starts from ``embedding_kd`` and is then trained on the labels, as the recipe ``student`` is."""
    recipe = student_alone()
    stage: dict[str, Any] = {"embedder": embedder, "weights": weights, "queue": queue, "epochs": start_epochs}
    network = recipe.networks["student"].model_dump(exclude_defaults=True)
    started = NetworkConfig(**network, trained_by=TrainedBy(recipe="embedding_kd", set=stage))
    return recipe.model_copy(update={"networks": {"student": started}})
