"""Categorical relation preserving: the similarity of an image to the centroid of every class."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.divergence import kl_divergence
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_choice, check_positive
from preceptor.networks.memory_bank import MemoryBank, class_sums
from preceptor.utils.errors import PreceptorError


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    labels = torch.tensor([0] * 30 + [1] * 12 + [2] * 3 + [3])
    student, teacher = functional.normalize(torch.randn(2, batch, 8, generator=generator), dim=2)
    inputs = {
        "student": student,
        "teacher": teacher,
        "student_bank": MemoryBank(labels, 8, 4, generator),
        "teacher_bank": MemoryBank(labels, 8, 4, generator),
        "rows": torch.randperm(len(labels), generator=generator)[:batch],
    }
    return {"variant": "official", "row_labels": labels}, inputs


@register_loss(
    "crp",
    feeds={
        "student": "to.projection",
        "teacher": "from.projection",
        "student_bank": "to.bank",
        "teacher_bank": "from.bank",
        "rows": "rows",
    },
    trains=("student",),
    facts={"row_labels": "row_labels"},
    relates_images=True,  # the centroids after the update are those of the whole batch's
    example=_example,
)
class CategoricalRelation(nn.Module):
    """L_CRP of CRCKD (Xing et al. 2021, eqs. 3 to 5): KL(R_t ‖ R_s), averaged over the batch, where

        R(g) = softmax_i( cos(g, C_i) / τ ),   C_i the mean of the rows of class i in the network's own bank

    and the cosine with a centroid of no length is 0.

    Args:
        variant: ``paper``: as in the text, which has no τ; the relation is then nearly flat, since a cosine lies within
            ±1. ``official``: as in the authors' code, τ = 0.07, C_i the mean of max(row, 0), and the banks read as the
            batch's own update leaves them.
        temperature: τ; that of the variant by default.
        row_labels: (N,) class of each row, for banks that are plain tensors; the engine gives it.

    Raises:
        PreceptorError: an unknown variant, a temperature that is not positive, a plain bank without ``row_labels``, or
            a class without rows.

    >>> bank = functional.normalize(torch.randn(4, 8), dim=1)
    >>> loss = CategoricalRelation("official", row_labels=torch.tensor([0, 0, 1, 1]))
    >>> loss(bank, bank, bank, bank).item()
    0.0
    """

    row_labels: Tensor | None

    def __init__(
        self,
        variant: Literal["paper", "official"] = "paper",
        temperature: float | None = None,
        row_labels: Tensor | None = None,
    ) -> None:
        super().__init__()
        check_choice("variant", variant, ("paper", "official"))
        self.reads_after = variant == "official"
        if temperature is None:
            temperature = 0.07 if variant == "official" else 1.0
        check_positive(temperature=temperature)
        self.rectified, self.temperature = variant == "official", temperature
        labels = None if row_labels is None else torch.as_tensor(row_labels)
        self.register_buffer("row_labels", labels, persistent=False)

    @full_precision
    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        student_bank: Tensor | MemoryBank,
        teacher_bank: Tensor | MemoryBank,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Scalar.

        Args:
            student: (B, d) projections.
            teacher: (B, d) projections, a constant.
            student_bank: the bank, whose centroids are at hand; or its rows (N, d), from which they are computed. A
                constant.
            teacher_bank: likewise.
            rows: (B,) these images' rows of the banks, with which ``official`` reads a MemoryBank as its update will
                leave it. Without them, and of plain rows (N, d), the bank is taken as it is.
        """
        ours = self._log_relation(student, student_bank, rows)
        theirs = self._log_relation(teacher.detach(), teacher_bank, rows)
        return kl_divergence(theirs, ours, dim=1).mean().to(student.dtype)

    def _log_relation(self, projections: Tensor, bank: Tensor | MemoryBank, rows: Tensor | None) -> Tensor:
        # float64, at B×C nothing: two relations that nearly agree differ by less than float32 resolves
        after = (rows, projections) if self.reads_after and rows is not None else None
        directions = functional.normalize(self._centroids(bank, after), dim=1)
        cosines = functional.normalize(projections.double(), dim=1) @ directions.T
        return functional.log_softmax(cosines / self.temperature, dim=1)

    @torch.no_grad()
    def _centroids(self, bank: Tensor | MemoryBank, after: tuple[Tensor, Tensor] | None) -> Tensor:
        if isinstance(bank, MemoryBank):
            return bank.centroids(self.rectified, after)
        if self.row_labels is None:
            raise PreceptorError("crp: a bank without labels", remedy="pass row_labels, or a MemoryBank")
        classes = int(self.row_labels.max()) + 1
        counts = torch.bincount(self.row_labels, minlength=classes)
        if not bool(counts.all()):
            raise PreceptorError("crp: a class without rows has no centroid", expected="rows of every class")
        return class_sums(bank, self.row_labels, classes, self.rectified) / counts[:, None]
