"""Self-supervised knowledge distillation (SSKD): logits and similarities of transformed views of the images.

The networks have seen V views of each of B images, in V blocks of B rows: first all images upright, then V-1 times the
same images in the same order, each block under another transform.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.checks import check_several_classes, check_unit_rows
from preceptor.losses.divergence import kl_divergence
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_positive, check_share
from preceptor.utils.errors import PreceptorError


def ranked_filter(teacher_logits: Tensor, targets: Tensor, keep: float) -> Tensor:
    """Select the rows to distil: those that the teacher classifies correctly, and the best-ranked of its errors (Xu et
    al. 2020, §3).

    The rank of a row is the number of classes with larger logits than the right one: 0 where the teacher is right.
    The wrong rows are put in the order of their ranks, the least wrong first, those of one rank in the order in which
    they stand; of W wrong rows the first ⌊keep·W⌋ stay. All right rows stay.

    Args:
        teacher_logits: (R, C), of any temperature.
        targets: (R,) the right classes.
        keep: share in [0, 1].

    Returns:
        (R,) bool, without gradient. Nothing is read back from the device.
    """
    logits = teacher_logits.detach()
    rank = (logits > logits.gather(1, targets[:, None])).sum(dim=1)
    wrong = (rank > 0).sum()
    staying = len(rank) - wrong + (keep * wrong.double()).long()
    order = rank.argsort(stable=True)
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    return place < staying


def _upright_and_transformed(rows: Tensor, views: int) -> tuple[Tensor, Tensor]:
    """(B, …) and ((V-1)·B, …).

    Raises:
        PreceptorError: fewer than two views, or rows that are no whole number of images.
    """
    if views < 2:
        raise PreceptorError(f"views: {views}", expected="at least 2: the upright images, and one transform of them")
    if len(rows) % views:
        raise PreceptorError(f"{len(rows)} rows are not {views} views of each image", expected="V blocks of B rows")
    images = len(rows) // views
    return rows[:images], rows[images:]


def _likenesses(projections: Tensor, views: int) -> Tensor:
    """((V-1)·B, B) cosines of each transformed row with the upright ones.

    Raises:
        PreceptorError: rows that are not of unit length (looked at on the CPU alone, where nothing waits for it).
    """
    upright, transformed = _upright_and_transformed(projections, views)
    check_unit_rows("projections", projections, may_wait=False)
    return transformed @ upright.T


def _sources(images: int, views: int, device: torch.device) -> Tensor:
    """((V-1)·B,) the upright row that each transformed one is of."""
    return torch.arange(images, device=device).repeat(views - 1)


def _filtered_divergence(student: Tensor, teacher: Tensor, targets: Tensor, temperature: float, keep: float) -> Tensor:
    kept = ranked_filter(teacher, targets, keep)
    ours = functional.log_softmax(student / temperature, dim=1)
    theirs = functional.log_softmax(teacher.detach() / temperature, dim=1)
    divergence = kl_divergence(theirs, ours, dim=1)
    return temperature**2 * torch.where(kept, divergence, 0).sum() / kept.sum().clamp(min=1)


def _example_pretext(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    projections = functional.normalize(torch.randn(3 * batch, 8, generator=generator), dim=1)
    return {}, {"projections": projections, "views": 3}


@register_loss(
    "sskd_pretext",
    feeds={"projections": "to.projection", "views": "views"},
    trains=("projections",),
    relates_images=True,
    example=_example_pretext,
)
class Pretext(nn.Module):
    """The pretext task of SSKD (Xu et al. 2020, §3, after SimCLR, Chen et al. 2020), which trains the teacher's head
    before the student: recognise the source of a transformed image among all upright images of the batch.

        mean over the (V-1)·B transformed rows of -log softmax_b( cos(g, g_b) )[its source]

    The cosines are taken as they are, without a temperature.

    >>> rows = functional.normalize(torch.rand(4, 8), dim=1)
    >>> Pretext()(torch.cat([rows, rows]), views=2) < 1.4  # log 4 for a guess
    tensor(True)
    """

    @full_precision
    def forward(self, projections: Tensor, views: int) -> Tensor:
        """Scalar.

        Args:
            projections: (V·B, d) unit rows, block after block.
            views: V ≥ 2.

        Raises:
            PreceptorError: fewer than two views, or rows that are no whole number of images or not of unit length.
        """
        cosines = _likenesses(projections, views)
        return functional.cross_entropy(cosines, _sources(cosines.shape[1], views, cosines.device))


def _example_similarity(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student = torch.randn(3 * batch, 8, generator=generator)
    teacher = torch.randn(batch, 8, generator=generator).repeat(3, 1)
    teacher += 0.1 * torch.randn(3 * batch, 8, generator=generator)
    teacher[batch] *= -1  # its one error, so that whatever the order of the images the same rows stay
    student, teacher = functional.normalize(student, dim=1), functional.normalize(teacher, dim=1)
    return {}, {"student": student, "teacher": teacher, "views": 3}


@register_loss(
    "sskd_similarity",
    feeds={"student": "to.projection", "teacher": "from.projection", "views": "views"},
    trains=("student",),
    relates_images=True,
    example=_example_similarity,
)
class SimilarityTransfer(nn.Module):
    """The self-supervised term of SSKD (Xu et al. 2020, §3): the similarities of transformed images to upright ones.

        T² · mean over the kept rows of KL( softmax_b(cos_t / T) ‖ softmax_b(cos_s / T) )

    for the (V-1)·B × B cosines of either network. Kept are the rows that :func:`ranked_filter` leaves, where the right
    answer is a row's own source. If it leaves none the value is 0.

    Args:
        temperature: T > 0.
        keep: share of the teacher's errors that stay.

    Raises:
        PreceptorError: a temperature that is not positive, or a share out of range.

    >>> rows = functional.normalize(torch.rand(8, 16), dim=1)
    >>> SimilarityTransfer()(rows, rows, views=2).item()
    0.0
    """

    def __init__(self, temperature: float = 0.5, keep: float = 0.75) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        check_share(keep=keep)
        self.temperature, self.keep = temperature, keep

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor, views: int) -> Tensor:
        """Scalar.

        Args:
            student: (V·B, d) unit rows, block after block.
            teacher: (V·B, d') likewise, a constant.
            views: V ≥ 2.

        Raises:
            PreceptorError: fewer than two views, or rows that are no whole number of images or not of unit length.
        """
        ours, theirs = _likenesses(student, views), _likenesses(teacher.detach(), views)
        sources = _sources(theirs.shape[1], views, theirs.device)
        return _filtered_divergence(ours, theirs, sources, self.temperature, self.keep)


def _example_logits(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    labels = torch.randint(5, (batch,), generator=generator)
    student, teacher = torch.randn(2, 3 * batch, 5, generator=generator)
    teacher += 9 * functional.one_hot(labels, 5).repeat(3, 1)
    teacher[batch] *= -1  # its one error among the transformed rows, as above
    inputs = {"student_logits": student, "teacher_logits": teacher, "labels": labels, "views": 3}
    return {"keep": 0.5}, inputs


@register_loss(
    "sskd_logits",
    feeds={"student_logits": "to.logits", "teacher_logits": "from.logits", "labels": "labels", "views": "views"},
    trains=("student_logits",),
    relates_images=True,  # the filter compares rows, and the mean is over those that it leaves
    example=_example_logits,
)
class TransformedLogits(nn.Module):
    """The logit term of SSKD on transformed images (Xu et al. 2020, §3):

        T² · mean over the kept rows of KL( softmax(z_t / T) ‖ softmax(z_s / T) )

    of the (V-1)·B transformed rows; the upright ones are left to the loss ``kl``. Kept are the rows that
    :func:`ranked_filter` leaves; if it leaves none the value is 0.

    Args:
        temperature: T > 0.
        keep: share of the teacher's errors that stay; with 1 the labels have no part in it.

    Raises:
        PreceptorError: a temperature that is not positive, or a share out of range.

    >>> logits, labels = torch.randn(8, 3), torch.tensor([0, 1, 2, 0])
    >>> TransformedLogits()(logits, logits, labels, views=2).item()
    0.0
    """

    def __init__(self, temperature: float = 4.0, keep: float = 1.0) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        check_share(keep=keep)
        self.temperature, self.keep = temperature, keep

    @full_precision
    def forward(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, views: int) -> Tensor:
        """Scalar.

        Args:
            student_logits: (V·B, C), block after block.
            teacher_logits: (V·B, C), a constant.
            labels: (B,) classes of the images.
            views: V ≥ 2.

        Raises:
            PreceptorError: fewer than two views, or rows that are no whole number of images.
        """
        check_several_classes("sskd_logits", student_logits)
        _, ours = _upright_and_transformed(student_logits, views)
        _, theirs = _upright_and_transformed(teacher_logits, views)
        return _filtered_divergence(ours, theirs, labels.repeat(views - 1), self.temperature, self.keep)
