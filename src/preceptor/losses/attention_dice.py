"""Attention on the lesion: the overlap of a network's attention maps with a mask."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from preceptor.losses.maps import average_to
from preceptor.losses.precision import full_precision
from preceptor.losses.settings import check_not_negative
from preceptor.utils.errors import PreceptorError

_EPSILON = 1e-8  # where nothing is attended and the masks are empty


class AttentionDice(nn.Module):
    """Dice of attention maps with masks (Yan et al. 2019, eq. 5), summed over maps with weights w:

        L = Σ_k w_k·(1 - 2·Σ a_k·m_k / Σ (a_k + m_k))

    a_k is an attention map in [0, 1], m_k the foreground averaged to its size; the sums run over the whole batch. The
    paper attends after the third and the fourth pool (28 and 14 places of 224 px), with weights .001 and .01. The maps
    are what ``attention_maps`` of :class:`preceptor.networks.attention_gates.AttentionVGG` returns.

    For loops of one's own: it is no registered loss, since no task of this package gives an image both a class and a
    mask.

    Args:
        weights: w_k, one for each attention map.

    Raises:
        PreceptorError: a weight that is negative.

    >>> import torch
    >>> attention = [torch.rand(2, 1, 28, 28), torch.rand(2, 1, 14, 14)]
    >>> AttentionDice()(attention, torch.randint(2, (2, 224, 224))).shape
    torch.Size([])
    """

    def __init__(self, weights: Sequence[float] = (0.001, 0.01)) -> None:
        super().__init__()
        check_not_negative(**{f"weights[{index}]": weight for index, weight in enumerate(weights)})
        self.weights = tuple(weights)

    @full_precision
    def forward(self, attention: list[Tensor], masks: Tensor) -> Tensor:
        """Attention maps (B, 1, h, w) and masks (B, H, W) of class indices, background 0, to a scalar.

        Raises:
            PreceptorError: not as many maps as weights.
        """
        if len(attention) != len(self.weights):
            raise PreceptorError(
                f"attention_dice: {len(attention)} attention maps, {len(self.weights)} weights",
                expected="a weight for each map",
            )
        foreground = (masks > 0)[:, None].to(attention[0].dtype)
        total = attention[0].new_zeros(())
        for weight, scores in zip(self.weights, attention, strict=True):
            truth = average_to(foreground, (scores.shape[2], scores.shape[3]))
            overlap = 2 * (scores * truth).sum() / ((scores + truth).sum() + _EPSILON)
            total = total + weight * (1 - overlap)
        return total
