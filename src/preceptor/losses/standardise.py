"""Logit standardisation: what is distilled is which classes are likelier, not how sure the teacher is."""

from __future__ import annotations

import torch
from torch import Tensor

from preceptor.utils.errors import PreceptorError

_EPSILON = 1e-7


def standardised(loss: str, logits: Tensor) -> Tensor:
    """(z - mean) / (std + 10⁻⁷) over the classes of each image (Sun et al. 2024, eq. 9), std with divisor C - 1.

    Gradient flows through mean and standard deviation. With two classes only the sign of z₁ - z₂ would be left.

    Args:
        loss: its name, for the message.
        logits: (B, C, …).

    Raises:
        PreceptorError: fewer than three classes.

    >>> standardised("kl", torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[-1.0000,  0.0000,  1.0000]])
    """
    classes = logits.shape[1]
    if classes < 3:
        raise PreceptorError(
            f"{loss}: standardise with {classes} classes",
            expected="at least 3, since standardised logits of two classes are constants",
            remedy="set standardise=false",
        )
    centred = logits - logits.mean(dim=1, keepdim=True)
    variance = centred.square().sum(dim=1, keepdim=True) / (classes - 1)
    varies = variance > 0  # equal logits have a spread without a slope
    return centred / (torch.where(varies, variance, 1).sqrt() * varies + _EPSILON)
