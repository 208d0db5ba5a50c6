from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same, convolved, drawn, normalised
from torch import Tensor, nn

from preceptor.losses.srrl import SoftmaxRegression
from preceptor.utils.errors import PreceptorError


def literal(
    loss: SoftmaxRegression, student: Tensor, teacher: Tensor, logits: Tensor, classifier: nn.Linear, weight: float
) -> Tensor:
    if loss.point == "pooled":
        student = (student.sum((2, 3)) / (student.shape[2] * student.shape[3]))[:, :, None, None]
    convolution, batch_norm, _ = loss.connector
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(batch_norm, nn.BatchNorm2d)
    connected = normalised(convolved(student, convolution), batch_norm).clamp(min=0)
    features = connected.sum((2, 3)) / (connected.shape[2] * connected.shape[3])
    own = torch.stack([classifier.weight @ row + classifier.bias for row in features])
    fit = ((features - teacher) ** 2).sum() / teacher.numel()
    return fit + weight * ((own - logits) ** 2).sum() / logits.numel()


@pytest.mark.parametrize("point", ["map", "pooled"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), weight=st.sampled_from([1.0, 2.5]))
def test_equals_the_formula(point: Literal["map", "pooled"], seed: int, weight: float) -> None:
    torch.manual_seed(seed)
    loss, classifier = SoftmaxRegression(3, 5, point, weight).double(), nn.Linear(5, 4).double()
    student, teacher, logits = drawn(seed, 3, 3, 2, 3), drawn(seed + 1, 3, 5), drawn(seed + 2, 3, 4)
    assert_same(
        lambda x: loss(x, teacher, logits, classifier),
        lambda x: literal(loss, x, teacher, logits, classifier, weight),
        student,
    )


def test_gradient_goes_through_the_classifier_and_not_to_it() -> None:
    loss, classifier = SoftmaxRegression(3, 5), nn.Linear(5, 4)
    student = torch.rand(2, 3, 2, 2, requires_grad=True)
    loss(student, torch.rand(2, 5), torch.rand(2, 4), classifier).backward()
    assert classifier.weight.grad is None
    assert loss.connector[0].weight.grad is not None
    assert student.grad is not None


def test_a_classifier_in_half_precision_is_applied_in_full() -> None:
    value = SoftmaxRegression(3, 5)(
        torch.rand(2, 3, 2, 2).bfloat16(), torch.rand(2, 5), torch.rand(2, 4), nn.Linear(5, 4).bfloat16()
    )
    assert value.dtype == torch.float32


def test_the_connector_starts_as_in_the_authors_code() -> None:
    torch.manual_seed(0)
    assert SoftmaxRegression(512, 2048).connector[0].weight.std().item() == pytest.approx((2 / 2048) ** 0.5, rel=0.01)


def test_an_unknown_point_is_refused() -> None:
    with pytest.raises(PreceptorError, match="map, pooled"):
        SoftmaxRegression(3, 5, "stem")  # type: ignore[arg-type]
