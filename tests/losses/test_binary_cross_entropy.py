"""Binary cross-entropy of several labels, against its formula in loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from preceptor.losses.binary_cross_entropy import BinaryCrossEntropy
from preceptor.utils.errors import PreceptorError


def _literal(logits: Tensor, targets: Tensor, weights: list[float]) -> Tensor:
    terms = []
    for row in range(len(logits)):
        for label, weight in enumerate(weights):
            y = targets[row, label].item()
            if not math.isnan(y):
                p = 1 / (1 + torch.exp(-logits[row, label]))
                terms.append(-(weight * y * torch.log(p) + (1 - y) * torch.log(1 - p)))
    return torch.stack(terms).mean()


@pytest.mark.parametrize("balanced", [False, True])
def test_value_and_gradient_are_those_of_the_formula(balanced: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = (torch.rand(6, 3, generator=generator) < 0.5).double()
    targets[1, 2] = targets[4, 0] = math.nan
    rows = torch.tensor([[1, 0, 1], [0, 0, 1], [0, 1, math.nan], [0, 1, 0]])
    weights = [3.0, 1.0, 0.5] if balanced else [1.0, 1.0, 1.0]
    loss = BinaryCrossEntropy("balanced" if balanced else "none", row_labels=rows)(logits, targets)
    literal = _literal(logits, targets, weights)
    assert loss.item() == pytest.approx(literal.item(), rel=1e-6)
    gradients = [torch.autograd.grad(value, logits, retain_graph=True)[0] for value in (loss, literal)]
    assert torch.allclose(*gradients, rtol=1e-5)


def test_nothing_known_is_no_loss() -> None:
    logits = torch.zeros(2, 2, requires_grad=True)
    loss = BinaryCrossEntropy()(logits, torch.full((2, 2), math.nan))
    loss.backward()
    assert (loss.item(), logits.grad.abs().sum().item()) == (0, 0)  # type: ignore[union-attr]


def test_a_label_of_one_kind_cannot_be_balanced() -> None:
    with pytest.raises(PreceptorError, match="only one kind of the labels 1"):
        BinaryCrossEntropy("balanced", row_labels=torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
