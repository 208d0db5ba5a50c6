from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same
from torch import Tensor

from preceptor.losses.cross_entropy import CrossEntropy, inverse_frequency
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator


def literal(logits: Tensor, labels: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    total = logits.new_zeros(())
    divisor = 0.0
    classes = logits.shape[1]
    for row, label in zip(logits, labels.tolist(), strict=True):
        probabilities = row.exp() / row.exp().sum()
        total = total - (1 - smoothing) * weights[label] * probabilities[label].log()
        for index in range(classes):
            total = total - smoothing / classes * weights[index] * probabilities[index].log()
        divisor += weights[label].item()
    return total / divisor


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 9),
    classes=st.integers(2, 8),
    smoothing=st.sampled_from([0.0, 0.1, 0.7]),
    weighted=st.booleans(),
)
def test_equals_the_formula(seed: int, batch: int, classes: int, smoothing: float, weighted: bool) -> None:
    draw = generator(seed)
    logits = 4 * torch.randn(batch, classes, generator=draw, dtype=torch.float64)
    labels = torch.randint(classes, (batch,), generator=draw)
    counts = torch.randint(1, 5000, (classes,), generator=draw)
    weights = counts.sum() / (classes * counts.double()) if weighted else torch.ones(classes).double()
    loss = CrossEntropy("inverse_frequency" if weighted else "none", smoothing, counts).double()
    if weighted:
        loss.weight = weights  # the float32 buffer would round at 1e-8
    assert_same(lambda x: loss(x, labels), lambda x: literal(x, labels, weights, smoothing), logits)


def test_gradient_agrees_with_finite_differences() -> None:
    logits = torch.randn(3, 4, generator=generator(1), dtype=torch.float64, requires_grad=True)
    loss = CrossEntropy([1.0, 2.0, 0.5, 3.0], 0.1).double()
    assert torch.autograd.gradcheck(lambda x: loss(x, torch.tensor([0, 3, 1])), logits)


def test_a_value_worked_by_hand() -> None:
    # two images, p = (0.8, 0.2) and (0.5, 0.5), labels 0 and 1, weights 1 and 3
    logits = torch.tensor([[log(0.8), log(0.2)], [0.0, 0.0]])
    expected = (-log(0.8) - 3 * log(0.5)) / 4
    assert CrossEntropy([1.0, 3.0])(logits, torch.tensor([0, 1])).item() == pytest.approx(expected, rel=1e-6)


def test_inverse_frequency_is_one_on_balanced_counts_and_inverse_otherwise() -> None:
    assert inverse_frequency(torch.tensor([8, 8, 8])).tolist() == [1, 1, 1]
    weights = inverse_frequency(torch.tensor([100, 10, 1]))
    assert (weights / weights[0]).tolist() == pytest.approx([1, 10, 100], rel=1e-6)


def test_maps_are_averaged_over_pixels() -> None:
    logits = torch.randn(2, 3, 4, 5, generator=generator(2))
    labels = torch.randint(3, (2, 4, 5), generator=generator(3))
    pixels = logits.movedim(1, -1).reshape(-1, 3)
    torch.testing.assert_close(CrossEntropy()(logits, labels), CrossEntropy()(pixels, labels.flatten()))


def test_large_logits_stay_finite() -> None:
    value = CrossEntropy()(torch.tensor([[1e4, -1e4]]), torch.tensor([1]))
    assert value.item() == pytest.approx(2e4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_weights": "inverse_frequency", "class_counts": torch.tensor([3, 0, 2, 0])}, "images: 1, 3"),
        ({"class_weights": "inverse_frequency"}, "class_counts"),
        ({"class_weights": "inverse"}, "inverse_frequency, or"),
        ({"class_weights": [1.0, 0.0]}, "positive"),
        ({"class_weights": [1.0, float("nan")]}, "positive"),
        ({"class_weights": []}, "positive"),
        ({"class_weights": [1.0, 2.0], "class_counts": torch.tensor([1, 2, 3])}, "2 weights for 3 classes"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(PreceptorError, match=message):
        CrossEntropy(**arguments)  # type: ignore[arg-type]


def test_weights_must_match_the_logits() -> None:
    with pytest.raises(PreceptorError, match="2 weights for 3 classes"):
        CrossEntropy([1.0, 2.0])(torch.zeros(1, 3), torch.tensor([0]))
