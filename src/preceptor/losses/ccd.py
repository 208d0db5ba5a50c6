"""Class-guided contrastive distillation, and contrastive representation distillation as its one-positive case."""

from __future__ import annotations

from math import log
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.bank_scores import scores, weighted_rows
from preceptor.losses.checks import check_unit_rows, loss_name
from preceptor.losses.gradient import wants_gradient, with_gradient
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.sampling import ClassSampler
from preceptor.losses.settings import check_choice, check_positive
from preceptor.networks.memory_bank import MemoryBank

_FEEDS = {
    "student": "to.projection",
    "teacher": "from.projection",
    "rows": "rows",
    "student_bank": "to.bank",
    "teacher_bank": "from.bank",
    "generator": "generator",
}


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    labels = torch.tensor([0] * 30 + [1] * 12 + [2] * 3 + [3])
    student, teacher = functional.normalize(torch.randn(2, batch, 8, generator=generator), dim=2)
    inputs = {
        "student": student,
        "teacher": teacher,
        "rows": torch.randperm(len(labels), generator=generator)[:batch],
        "student_bank": MemoryBank(labels, 8, 4, generator),
        "teacher_bank": MemoryBank(labels, 8, 4, generator),
        "generator": generator,
    }
    return {"row_labels": labels, "positives": 5, "negatives": 20}, inputs


@register_loss(
    "ccd",
    feeds=_FEEDS,
    trains=("student", "teacher"),
    facts={"row_labels": "row_labels"},
    relates_images=True,  # Z is estimated from the whole batch, and one draw serves it
    example=_example,
)
class ClassContrastive(nn.Module):
    """L_CCD of CRCKD (Xing et al. 2021, eqs. 1 and 2), both sides. For a query g against the other network's bank m,

        x_j = exp(g·m_j / τ) / Z          c = kN / N
        L = -(1/kP) Σ_pos log(x/(x + c)) - Σ_neg log(c/(x + c)),  averaged over the batch

    and the student's against the teacher's bank is added to the teacher's against the student's. The latter trains the
    teacher's projection head, where that learns. Z is not in the text, but as in Wu et al. 2018
    it brings x near one; without it the negatives alone start at thousands. It is Z = N·mean(exp(g·m/τ)) over the
    sampled scores, one for each side, without gradient.

    Everything is a function of s = log(x/c), as -log(x/(x+c)) = softplus(-s) and -log(c/(x+c)) = softplus(s). The
    gradient is written down with the value, since the slope of softplus is a sigmoid: nothing waits for a backward
    pass, and the B×N scores live for a moment only.

    Args:
        positives: kP, the image itself and others of its class; drawn again where the class has fewer.
        negatives: kN of other classes; drawn with replacement where there are fewer.
        temperature: τ.
        normaliser: ``first``: Z is that of the first training batch for good; ``running``: Z ← 0.99·Z + 0.01·Z of the
            batch, before it is used.
        row_labels: (N,) class of each row of the banks; the engine gives it.

    Raises:
        PreceptorError: a setting out of range, or all rows are of one class.

    >>> student, teacher, bank = functional.normalize(torch.randn(3, 4, 8), dim=2)
    >>> loss = ClassContrastive(positives=2, negatives=3, row_labels=torch.tensor([0, 0, 1, 1]))
    >>> loss(student, teacher, torch.arange(4), bank, bank, torch.Generator()) > 0
    tensor(True)
    """

    log_z: Tensor

    def __init__(
        self,
        positives: int = 20,
        negatives: int = 4096,
        temperature: float = 0.07,
        normaliser: Literal["first", "running"] = "first",
        *,
        row_labels: Tensor,
    ) -> None:
        super().__init__()
        check_positive(positives=positives, negatives=negatives, temperature=temperature)
        check_choice("normaliser", normaliser, ("first", "running"))
        self.positives, self.negatives, self.temperature = positives, negatives, temperature
        self.normaliser = normaliser
        self.sampler = ClassSampler(row_labels)
        self.register_buffer("log_z", torch.full((2,), torch.nan))  # of the student's and the teacher's side
        self._settled = False  # whether ``log_z`` is set, which the host never reads from it

    @full_precision
    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        rows: Tensor,
        student_bank: Tensor | MemoryBank,
        teacher_bank: Tensor | MemoryBank,
        generator: torch.Generator,
    ) -> Tensor:
        """Scalar.

        Args:
            student: (B, d) unit projections.
            teacher: (B, d) unit projections.
            rows: (B,) the images' rows in the banks.
            student_bank: (N, d), or the bank itself; a constant.
            teacher_bank: likewise.
            generator: on the device of ``rows``; both sides share the sample.

        Raises:
            PreceptorError: projections that are not of unit length (on a GPU checked until the first training batch).
        """
        for argument, projections in (("student", student), ("teacher", teacher)):
            check_unit_rows(f"{loss_name(self)}: {argument}", projections, may_wait=not self._settled)
        index = self.sample(rows, generator)
        value = self._side(0, student, teacher_bank, index) + self._side(1, teacher, student_bank, index)
        self._settled = self._settled or self.training
        return value

    def sample(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """(B, kP + kN) rows of the banks: first the positives, of which the image itself is the first."""
        positives = self.sampler.positives(rows, self.positives, generator)
        return torch.cat([positives, self.sampler.negatives(rows, self.negatives, generator)], dim=1)

    def _side(self, side: int, query: Tensor, bank: Tensor | MemoryBank, index: Tensor) -> Tensor:
        rows = (bank.rows if isinstance(bank, MemoryBank) else bank).to(query.dtype)
        logits = scores(query / self.temperature, rows, index)
        logits -= self._log_z(side, logits, len(rows)) + log(self.negatives / len(rows))
        value, slope = _contrast(logits, self.positives)
        if not wants_gradient(query):
            return value
        gradient = weighted_rows(slope, rows, index).div_(len(query) * self.temperature)
        return with_gradient(query, value, gradient)

    def _log_z(self, side: int, logits: Tensor, count: int) -> Tensor:
        """log Z of one side, () and without gradient; settles it in training."""
        kept = self.log_z[side].to(logits.dtype)
        moves = self.normaliser == "running" and self.training
        if self._settled and not moves:
            return kept
        here = logits.flatten().logsumexp(0) - log(logits.numel()) + log(count)
        known = torch.logaddexp(kept + log(0.99), here + log(0.01)) if moves else kept
        now = torch.where(kept.isnan(), here, known)
        if self.training:
            self.log_z[side] = now
        return now

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._settled = False  # what comes may be of a run before its first batch
        super()._load_from_state_dict(*args, **kwargs)


def _contrast(logits: Tensor, positives: int) -> tuple[Tensor, Tensor]:
    """The loss of s = log(x/c), (B, kP + kN), and B times its slope at each of them. Overwrites ``logits``.

    Few passes over the whole: all that differs for positives is done to their columns alone.
    """
    logits[:, :positives].neg_()
    terms = functional.softplus(logits, threshold=40)
    value = (terms[:, :positives].sum() / positives + terms[:, positives:].sum()) / len(logits)
    slope = logits.sigmoid_()
    slope[:, :positives].div_(-positives)
    return value, slope


def _example_of_crd(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    settings, inputs = _example(generator, batch)
    return {"row_labels": settings["row_labels"], "negatives": 20}, inputs


@register_loss(
    "crd",
    feeds=_FEEDS,
    trains=("student", "teacher"),
    facts={"row_labels": "row_labels"},
    relates_images=True,
    example=_example_of_crd,
)
class ContrastiveRepresentation(ClassContrastive):
    """Contrastive representation distillation (Tian et al. 2020), in the noise-contrastive form of the authors' code:
    :class:`ClassContrastive` with the image itself as the one positive and all others as negatives.

    With negatives of other classes alone it is ``ccd`` with ``positives=1``.

    Args:
        negatives: kN of all other images; drawn with replacement where there are fewer.
        temperature: τ.
        normaliser: as in :class:`ClassContrastive`.
        row_labels: (N,); only the number of rows matters. The engine gives it.

    >>> student, teacher, bank = functional.normalize(torch.randn(3, 4, 8), dim=2)
    >>> loss = ContrastiveRepresentation(negatives=3, row_labels=torch.tensor([0, 0, 1, 1]))
    >>> loss(student, teacher, torch.arange(4), bank, bank, torch.Generator()) > 0
    tensor(True)
    """

    def __init__(
        self,
        negatives: int = 16384,
        temperature: float = 0.07,
        normaliser: Literal["first", "running"] = "first",
        *,
        row_labels: Tensor,
    ) -> None:
        everyone_a_class = torch.arange(len(row_labels))
        super().__init__(1, negatives, temperature, normaliser, row_labels=everyone_a_class)
