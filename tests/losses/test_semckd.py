from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same_in_each, convolved, drawn, normalised, pooled
from torch import Tensor, nn

from preceptor.losses.semckd import SemanticCalibration
from preceptor.utils.errors import PreceptorError

BATCH = 5


def embedded(embedder: nn.Module, feature_map: Tensor, scaled: bool) -> list[Tensor]:
    """The unit query or key of each image."""
    gram = torch.stack([torch.stack([(a * b).sum() for b in feature_map]) for a in feature_map])
    if scaled:
        gram = torch.stack([row / (row**2).sum().sqrt() for row in gram])
    assert isinstance(embedder, nn.Sequential)
    first, _, second = embedder
    rows = [second.weight @ (first.weight @ row + first.bias).clamp(min=0) + second.bias for row in gram]
    return [row / (row**2).sum().sqrt() for row in rows]


def projected(projector: nn.Module, feature_map: Tensor) -> Tensor:
    assert isinstance(projector, nn.Sequential)
    for layer in projector:
        if isinstance(layer, nn.Conv2d):
            feature_map = convolved(feature_map, layer)
        elif isinstance(layer, nn.BatchNorm2d):
            feature_map = normalised(feature_map, layer)
        else:
            feature_map = feature_map.clamp(min=0)
    return feature_map


def literal(
    loss: SemanticCalibration, student: list[Tensor], teacher: list[Tensor], temperature: float, scaled: bool
) -> Tensor:
    queries = [embedded(net, point, scaled) for net, point in zip(loss.queries, student, strict=True)]
    keys = [embedded(net, point, scaled) for net, point in zip(loss.keys, teacher, strict=True)]
    total = student[0].new_zeros(())
    for i, s in enumerate(student):
        powers = torch.stack(
            [torch.stack([((queries[i][b] * key[b]).sum() / temperature).exp() for key in keys]) for b in range(BATCH)]
        )
        for j, t in enumerate(teacher):
            side = min(s.shape[2], t.shape[2])
            output = projected(loss.projectors[i * len(teacher) + j], pooled(s, side, side))
            errors = ((output - pooled(t, side, side)) ** 2).mean((1, 2, 3))
            total = total + (powers[:, j] / powers.sum(1) * errors).sum()
    return total / (BATCH * len(student))


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6), scaled=st.booleans())
def test_equals_the_formula(seed: int, scaled: bool) -> None:
    torch.manual_seed(seed)
    loss = SemanticCalibration((2, 3), (3, 4, 2), BATCH, temperature=0.5, normalise_rows=scaled).double()
    student = [drawn(seed, BATCH, 2, 3, 3), drawn(seed + 1, BATCH, 3, 2, 2)]
    teacher = [drawn(seed + 2 + j, BATCH, k, n, n) for j, (k, n) in enumerate(((3, 4), (4, 2), (2, 1)))]
    assert_same_in_each(loss, lambda s, t: literal(loss, s, t, 0.5, scaled), student, teacher)


def test_the_middle_width_caps_the_parameters() -> None:
    student, teacher = (64, 128, 256, 512), (256, 512, 1024, 2048)
    with torch.device("meta"):
        whole, capped = (SemanticCalibration(student, teacher, 64, middle_width=width) for width in (None, 256))
    assert 850e6 < sum(parameter.numel() for parameter in whole.projectors.parameters()) < 858e6
    assert sum(parameter.numel() for parameter in capped.projectors.parameters()) < 15e6


def test_another_batch_size_is_refused() -> None:
    loss = SemanticCalibration((2,), (3,), 8)
    with pytest.raises(PreceptorError, match="a batch of 5 images, and weights for 8"):
        loss([torch.zeros(5, 2, 2, 2)], [torch.zeros(5, 3, 2, 2)])
    with pytest.raises(PreceptorError, match="at least 4"):
        SemanticCalibration((2,), (3,), 3)
    with pytest.raises(PreceptorError, match="middle_width"):
        SemanticCalibration((2,), (3,), 8, middle_width=0)
