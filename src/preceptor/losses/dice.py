"""Soft Dice: the overlap of a mask with the probabilities of its class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses.checks import check_several_classes, loss_name
from preceptor.losses.precision import full_precision
from preceptor.losses.registry import register_loss
from preceptor.losses.settings import check_positive


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    logits = 3 * torch.randn(batch, 3, 4, 4, generator=generator)
    return {}, {"logits": logits, "masks": torch.randint(3, (batch, 4, 4), generator=generator)}


@register_loss("dice", feeds={"logits": "to.logits", "masks": "masks"}, trains=("logits",), example=_example)
class SoftDice(nn.Module):
    """One minus soft Dice of each image and foreground class, averaged over both (Sudre et al. 2017, eq. 3, without
    their class weights; the Dice term of Niyaz et al. 2024, eq. 8):

        L = 1/(B·(C-1)) Σ_b Σ_c 1 - (2·Σ_i p[c,i]·g[c,i] + ε) / (Σ_i p[c,i] + Σ_i g[c,i] + ε)

    p is the softmax over classes, g one where the mask is c; class 0, the background, is left out. ε decides what an
    empty mask costs: nothing where the probabilities are zero too, nearly one where they sum to many times ε. Its
    gradient is then small, so that data with many empty masks needs a loss for each pixel beside this one, or
    ``dice_pooled``.

    Args:
        smooth: ε in pixels, positive.

    Raises:
        PreceptorError: an ε that is not positive.

    >>> masks = torch.tensor([[[0, 1], [1, 1]]])
    >>> logits = 100.0 * functional.one_hot(masks, 2).movedim(3, 1)
    >>> SoftDice()(logits, masks).item()
    0.0
    """

    pooled_over = (2, 3)

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__()
        check_positive(smooth=smooth)
        self.smooth = smooth

    @full_precision
    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Logits (B, C, H, W) with C ≥ 2 and masks (B, H, W) of class indices to a scalar in [0, 1].

        Raises:
            PreceptorError: logits of one class.
        """
        check_several_classes(loss_name(self), logits)
        classes = logits.shape[1]
        probabilities = logits.softmax(1)[:, 1:]
        truth = functional.one_hot(masks.long(), classes).movedim(3, 1)[:, 1:]
        overlap = (probabilities * truth).sum(self.pooled_over)
        total = (probabilities + truth).sum(self.pooled_over)
        return 1 - ((2 * overlap + self.smooth) / (total + self.smooth)).mean()


@register_loss(
    "dice_pooled",
    feeds={"logits": "to.logits", "masks": "masks"},
    trains=("logits",),
    relates_images=True,
    example=_example,
)
class PooledDice(SoftDice):
    """:class:`SoftDice` (Sudre et al. 2017) with the sums over the pixels of the whole batch, then the mean over
    foreground classes: an image counts by the size of its mask, and an empty one only by its false positives.

    >>> masks = torch.tensor([[[0, 1], [1, 1]]])
    >>> round(PooledDice(smooth=1e-6)(torch.zeros(1, 2, 2, 2), masks).item(), 4)  # 1 - 2·1.5 / (2 + 3)
    0.4
    """

    pooled_over = (0, 2, 3)  # type: ignore[assignment]
