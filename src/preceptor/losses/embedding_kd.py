"""Distillation of embeddings without labels, by similarities to a queue of earlier images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.likeness import linear_head, similarity_divergence
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_positive

#: Rows of the queue for fewer images than a number.
_ROWS = {50: 16, 100: 32, 250: 64, 500: 128, 1000: 256, 2000: 512, 4000: 1024, 10_000: 2048, 20_000: 4096}

_NEVER = -1e4  # of a similarity: at any sensible temperature a probability of exactly zero


def queue_size(images: int) -> int:
    """Rows of the queue for a number of training images, as in lightly-train: 16 to 8192.

    >>> [queue_size(images) for images in (40, 8_000, 1_000_000)]
    [16, 2048, 8192]
    """
    return next((rows for below, rows in _ROWS.items() if images < below), 8192)


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student, teacher = (torch.randn(batch, size, generator=generator) for size in (5, 8))
    return {"student_size": 5, "teacher_size": 8, "queue": 16}, {"student": student, "teacher": teacher}


@register_loss(
    "embedding_kd",
    feeds={"student": "to.embedding", "teacher": "from.embedding"},
    trains=("student",),
    facts={"student_size": "to.embedding", "teacher_size": "from.embedding"},
    relates_images=True,
    example=_example,
)
class EmbeddingQueue(nn.Module):
    """Label-free distillation by a queue, version 1 of lightly-train (Lightly 2025; after SEED, Fang et al. 2021):

        KL( softmax(g_t·Qᵀ / τ) ‖ softmax(g_s·Qᵀ / τ) ),  averaged over the batch

    for unit rows g_t of the teacher's embedding and g_s of a learned linear layer on the student's. Q holds the newest
    rows g_t, those of this batch first; it is part of the state, and moves in training alone. Rows that no image has
    filled yet are left out.

    Args:
        student_size: D of the student's embedding; the engine gives both.
        teacher_size: D of the teacher's.
        queue: rows of Q; :func:`queue_size` for a number of images.
        temperature: τ > 0.
        count_empty_rows: whether rows that are not filled yet count as of similarity 0, as they do in lightly-train.

    Raises:
        PreceptorError: a setting that is not positive.

    >>> EmbeddingQueue(8, 16, queue=32)(torch.rand(4, 8), torch.rand(4, 16)) > 0
    tensor(True)
    """

    rows: Tensor
    filled: Tensor

    def __init__(
        self,
        student_size: int,
        teacher_size: int,
        queue: int = 8192,
        temperature: float = 0.07,
        count_empty_rows: bool = False,
    ) -> None:
        super().__init__()
        check_positive(queue=queue, temperature=temperature)
        self.head = linear_head(student_size, teacher_size)
        self.temperature, self.count_empty_rows = temperature, count_empty_rows
        self.register_buffer("rows", torch.zeros(queue, teacher_size))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Embeddings (B, D) and (B, D') to a scalar."""
        ours = functional.normalize(self.head(student), dim=1)
        theirs = functional.normalize(teacher.detach(), dim=1)
        rows, filled = self.rows.to(theirs.dtype), self.filled
        if self.training:
            rows = torch.cat([theirs, rows])[: len(rows)]
            filled = (filled + len(theirs)).clamp(max=len(rows))
            self.rows.copy_(rows)
            self.filled.copy_(filled)
        likeness, teacher_likeness = ours @ rows.T, theirs @ rows.T
        if not self.count_empty_rows:
            empty = torch.arange(len(rows), device=rows.device) >= filled.clamp(min=1)
            likeness, teacher_likeness = (each.masked_fill(empty, _NEVER) for each in (likeness, teacher_likeness))
        return similarity_divergence(likeness, teacher_likeness, self.temperature)
