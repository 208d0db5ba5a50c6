"""PHI-S: the rotation and scale that give every entry of a teacher's embedding one variance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from preceptor.losses.hadamard import hadamard


def mean_variance(features: Tensor) -> Tensor:
    """λ̄ = tr Σ / D of features (N, D), N ≥ 2, with the unbiased covariance Σ: the mean of its eigenvalues.

    >>> mean_variance(torch.tensor([[0.0, 0.0], [2.0, 4.0]]))
    tensor(5.)
    """
    return features.var(dim=0).mean()


@dataclass(frozen=True)
class PhiStandardisation:
    """y = W·(x - μ), after which every entry has variance 1 (Ranzinger et al. 2024, §3).

    Attributes:
        mean: μ (D,).
        matrix: W (D, D) = H·Uᵀ/√λ̄, with W·Wᵀ = I/λ̄.
        scale: λ̄, the mean eigenvalue of the covariance.
    """

    mean: Tensor
    matrix: Tensor
    scale: Tensor

    @classmethod
    def of(cls, features: Tensor) -> PhiStandardisation:
        """Fit to a sample of features (N, D), N ≥ 2, in float64.

        Raises:
            PreceptorError: no Hadamard matrix of size D can be built.

        >>> sample = torch.randn(50, 4) * torch.tensor([1.0, 2.0, 3.0, 4.0])
        >>> PhiStandardisation.of(sample)(sample).var(dim=0).round(decimals=6)
        tensor([1., 1., 1., 1.], dtype=torch.float64)
        """
        rows = features.double()
        values, vectors = torch.linalg.eigh(torch.atleast_2d(torch.cov(rows.T)))
        scale = values.clamp(min=0).mean()
        matrix = hadamard(rows.shape[1]).to(rows.device) @ vectors.T / scale.sqrt()
        return cls(rows.mean(dim=0), matrix, scale)

    def __call__(self, features: Tensor) -> Tensor:
        """Standardise features (N, D)."""
        return (features.to(self.mean.dtype) - self.mean) @ self.matrix.T

    def inverse(self, standardised: Tensor) -> Tensor:
        """x = μ + λ̄·Wᵀ·y of (N, D)."""
        return self.mean + self.scale * standardised @ self.matrix
