"""Relations between images (DRKD): distances and angles in the student's embedding space against the teacher's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.gradient import wants_gradient, with_gradient
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_not_negative

_EQUAL = 1e-13  # of two rows' squared lengths: what float64 leaves of the distance between equal ones

_TILE = 1 << 16  # triples at a time: half a MiB of float64, so that a processor's cache holds what is worked on
_TILE_CUDA = 1 << 24  # a launch is dear there


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    return {}, {
        "student": torch.randn(batch, 5, generator=generator).relu(),
        "teacher": torch.randn(batch, 8, generator=generator).relu(),
    }


@register_loss(
    "drkd",
    feeds={"student": "to.embedding", "teacher": "from.embedding"},
    trains=("student",),
    relates_images=True,
    example=_example,
)
class ImageRelation(nn.Module):
    """DRKD of SSD-KD (Wang et al. 2023, eq. 5), which is relational knowledge distillation (Park et al. 2019, eqs. 4
    to 9): with the smooth L1 distance ℓ (quadratic up to 1),

        25 · mean_ij ℓ(d_ij/μ of the student, d_ij/μ of the teacher)  +  50 · mean_ijk ℓ(cos_ijk, cos_ijk)

    where d_ij = ‖e_j - e_i‖, μ is the mean of the d_ij > 0 of the batch and network, and cos_ijk the cosine of the
    angle at e_i between e_j and e_k. The means are over all B² pairs and B³ triples as in RKD's code, those with i = j
    among them. Rows that are equal to rounding have d = 0; an angle at a distance of 0 is 0. Neither has gradient.

    All comes from the B×B Gram: ⟨e_j - e_i, e_k - e_i⟩ = G_jk - G_ij - G_ik + G_ii. That difference loses digits where
    rows nearly agree, so that Gram, distances and angles are float64, of embeddings around their mean; the angles are
    made, compared and forgotten a few images at a time, with their part of the gradient.

    The widths of the two networks need not agree.

    Args:
        distance_weight: of the distances, ≥ 0.
        angle_weight: of the angles, ≥ 0.
        normalise: whether embeddings are scaled to unit length first, as in the classification branch of RKD's authors.

    Raises:
        PreceptorError: a weight that is negative or not finite.

    >>> embeddings = torch.rand(4, 8)
    >>> ImageRelation()(2 * embeddings, embeddings) < 1e-6  # distances are relative to their mean
    tensor(True)
    """

    def __init__(self, distance_weight: float = 25.0, angle_weight: float = 50.0, normalise: bool = False) -> None:
        super().__init__()
        check_not_negative(distance_weight=distance_weight, angle_weight=angle_weight)
        self.distance_weight, self.angle_weight, self.normalise = distance_weight, angle_weight, normalise

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Embeddings (B, D) and (B, D') to a scalar."""
        ours, theirs = self._gram(student), self._gram(teacher.detach())
        distances, angles = _distance_term(ours, theirs), _angle_term(ours, theirs)
        return (self.distance_weight * distances + self.angle_weight * angles).to(student.dtype)

    def _gram(self, embeddings: Tensor) -> Tensor:
        rows = embeddings.double()
        if self.normalise:
            squares = rows.square().sum(dim=1, keepdim=True)
            rows = rows * torch.where(squares > 0, squares, 1).rsqrt()
        rows = rows - rows.detach().mean(dim=0)  # nothing here depends on the origin, but rounding does
        return rows @ rows.T


def _squared_distances(gram: Tensor) -> tuple[Tensor, Tensor]:
    """(B, B), and a mask of where it is more than rounding."""
    lengths = gram.diagonal()
    both = lengths[:, None] + lengths
    squares = both - 2 * gram
    apart = squares.detach() > _EQUAL * both.detach()
    return squares, apart.fill_diagonal_(False)


def _distance_term(ours: Tensor, theirs: Tensor) -> Tensor:
    return functional.smooth_l1_loss(_relative_distances(ours), _relative_distances(theirs))


def _relative_distances(gram: Tensor) -> Tensor:
    squares, apart = _squared_distances(gram)
    distances = torch.where(apart, squares, 1).sqrt() * apart
    mean = distances.sum() / apart.sum().clamp(min=1)
    return distances / torch.where(mean > 0, mean, 1)


@dataclass(frozen=True)
class _Triangles:
    """The (B, B) matrices from which the angles of a network are computed."""

    gram: Tensor
    leg: Tensor  # G_ij - G_ii/2
    inverse: Tensor  # 1/d_ij, or 0

    @classmethod
    def of(cls, gram: Tensor) -> _Triangles:
        gram = gram.detach()
        squares, apart = _squared_distances(gram)
        return cls(gram, gram - gram.diagonal()[:, None] / 2, torch.where(apart, squares, 1).rsqrt_() * apart)

    def cosines(self, apexes: slice) -> Tensor:
        """(n, B, B), at n images."""
        leg, inverse = self.leg[apexes], self.inverse[apexes]
        products = self.gram - leg[:, :, None]
        return products.sub_(leg[:, None]).mul_(inverse[:, :, None]).mul_(inverse[:, None])


def _angle_term(gram: Tensor, teacher_gram: Tensor) -> Tensor:
    """mean_ijk ℓ(cos_ijk - cos_ijk of the teacher) as a function of the student's Gram.

    With h = ℓ', p = 1/d and P_ijk = h_ijk·p_ij·p_ik the gradient of the sum is Σ_i P_ijk for G_jk, -2·Σ_k P_ijk for
    G_ij, Σ_jk P_ijk for G_ii, and -p_ij²·Σ_k h_ijk·cos_ijk for d_ij² = G_ii + G_jj - 2·G_ij.
    """
    ours, theirs = _Triangles.of(gram), _Triangles.of(teacher_gram)
    batch, learns = len(gram), wants_gradient(gram)
    total, slope = gram.new_zeros(()), torch.zeros_like(ours.gram)
    by_leg, by_square = torch.empty_like(slope), torch.empty_like(slope)
    together = max(1, (_TILE_CUDA if gram.is_cuda else _TILE) // batch**2)
    for at in range(0, batch, together):
        apexes = slice(at, at + together)
        cosines, difference = ours.cosines(apexes), theirs.cosines(apexes)
        torch.sub(cosines, difference, out=difference)
        bent = difference.clamp(-1, 1)  # h
        total += bent.flatten() @ difference.sub_(bent, alpha=0.5).flatten()
        if learns:
            inverse = ours.inverse[apexes]
            by_square[apexes] = cosines.mul_(bent).sum(dim=2)
            pulls = bent.mul_(inverse[:, :, None]).mul_(inverse[:, None])  # P
            by_leg[apexes] = pulls.sum(dim=2)
            slope += pulls.sum(dim=0)
    value = total / batch**3
    if not learns:
        return value
    by_square *= -ours.inverse.square()
    slope -= 2 * (by_leg + by_square)
    slope.diagonal().add_(by_leg.sum(dim=1) + by_square.sum(dim=0) + by_square.sum(dim=1))
    return with_gradient(gram, value, slope / batch**3)
