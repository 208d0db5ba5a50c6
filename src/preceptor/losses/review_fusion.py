"""The parts of ReviewKD (Chen et al. 2021): fusion of a stage with deeper ones, errors over a pyramid of sizes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.adapters import BatchNorm


class AttentionFusion(nn.Module):
    """One level (ABF): a stage of the student fused with the fused map of the deeper level, at its weights of either.

    Args:
        student_channels: K_s.
        middle: m, channels of what levels pass on.
        teacher_channels: K_t.
        fuses: whether there is a deeper level.

    >>> fused, output = AttentionFusion(8, 4, 16, fuses=False)(torch.rand(2, 8, 3, 3), None, (3, 3))
    >>> fused.shape, output.shape
    (torch.Size([2, 4, 3, 3]), torch.Size([2, 16, 3, 3]))
    """

    def __init__(self, student_channels: int, middle: int, teacher_channels: int, fuses: bool) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(student_channels, middle, 1, bias=False), BatchNorm(middle))
        self.leave = nn.Sequential(
            nn.Conv2d(middle, teacher_channels, 3, padding=1, bias=False), BatchNorm(teacher_channels)
        )
        self.weights = nn.Sequential(nn.Conv2d(2 * middle, 2, 1), nn.Sigmoid()) if fuses else None
        for convolution in (self.enter[0], self.leave[0]):
            nn.init.kaiming_uniform_(convolution.get_parameter("weight"), a=1)

    def forward(self, student: Tensor, deeper: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """(map for the next level, output for the teacher's map of ``size``)."""
        fused = self.enter(student)
        if self.weights is not None and deeper is not None:
            deeper = functional.interpolate(deeper, fused.shape[2:], mode="nearest")
            own, other = self.weights(torch.cat([fused, deeper], dim=1)).split(1, dim=1)
            fused = fused * own + deeper * other
        if fused.shape[2:] != size:
            fused = functional.interpolate(fused, size, mode="nearest")
        return fused, self.leave(fused)


def pyramid_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Hierarchical context loss (HCL): MSE of maps at full size and pooled to 4×4, 2×2 and 1×1, in weights 1, ½, ¼, …

    Pooled sizes that are not smaller than the map are left out; the weights are divided by their sum.

    >>> pyramid_error(torch.ones(2, 3, 8, 8), torch.zeros(2, 3, 8, 8))
    tensor(1.)
    """
    errors, weights = [functional.mse_loss(student, teacher)], [1.0]
    for side in (4, 2, 1):
        if side < student.shape[2]:
            ours, theirs = (functional.adaptive_avg_pool2d(feature_map, side) for feature_map in (student, teacher))
            errors.append(functional.mse_loss(ours, theirs))
            weights.append(weights[-1] / 2)
    return torch.stack([weight * error for weight, error in zip(weights, errors, strict=True)]).sum() / sum(weights)
