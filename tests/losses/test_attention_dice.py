from __future__ import annotations

import pytest
import torch
from literal_twins import assert_same
from torch import Tensor

from preceptor.losses.attention_dice import AttentionDice
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator


def test_attention_dice_equals_the_formula() -> None:
    attention = torch.rand(3, 1, 4, 4, generator=generator(1), dtype=torch.float64)
    coarse = torch.rand(3, 1, 2, 2, generator=generator(2), dtype=torch.float64)
    masks = torch.randint(3, (3, 8, 8), generator=generator(3))  # any class but the background is foreground

    def overlap(scores: Tensor, side: int) -> Tensor:
        product, total = scores.new_zeros(()), scores.new_zeros(())
        for image in range(3):
            for y in range(scores.shape[2]):
                for x in range(scores.shape[3]):
                    window = masks[image, y * side : (y + 1) * side, x * side : (x + 1) * side]
                    share = (window > 0).double().mean()
                    product = product + scores[image, 0, y, x] * share
                    total = total + scores[image, 0, y, x] + share
        return 2 * product / total

    def literal(x: Tensor) -> Tensor:
        return 0.5 * (1 - overlap(x, 2)) + 3 * (1 - overlap(coarse, 4))

    assert_same(lambda x: AttentionDice([0.5, 3.0])([x, coarse], masks), literal, attention)


def test_nothing_attended_and_nothing_there_is_finite() -> None:
    attention = [torch.zeros(2, 1, 4, 4, requires_grad=True), torch.zeros(2, 1, 2, 2, requires_grad=True)]
    value = AttentionDice()(attention, torch.zeros(2, 8, 8, dtype=torch.long))
    value.backward()
    assert value.item() == pytest.approx(0.011)
    assert all(scores.grad is not None and scores.grad.isfinite().all() for scores in attention)


def test_maps_and_weights_go_together() -> None:
    with pytest.raises(PreceptorError, match="1 attention maps, 2 weights"):
        AttentionDice()([torch.zeros(1, 1, 2, 2)], torch.zeros(1, 4, 4))
    with pytest.raises(PreceptorError, match="weights"):
        AttentionDice([-1.0])
