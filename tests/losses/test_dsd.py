"""Double similarity distillation: attention between layers, overlap of categories."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same
from torch import Tensor

from preceptor.losses.dsd_channel import CategorySimilarity
from preceptor.losses.dsd_pairwise import PixelSimilarity
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator


def literal_unit(vector: Tensor) -> Tensor:
    return vector / vector.square().sum().sqrt()


def literal_pixel(students: list[Tensor], teachers: list[Tensor]) -> Tensor:
    def differences(maps: list[Tensor], image: int) -> list[Tensor]:
        attention = [literal_unit(feature[image].square().sum(0).flatten() / len(feature[image])) for feature in maps]
        return [literal_unit(attention[j] - attention[i]) for i in range(len(maps)) for j in range(i + 1, len(maps))]

    terms = [
        ((ours - theirs) ** 2).sum() / len(ours)
        for image in range(len(students[0]))
        for ours, theirs in zip(differences(students, image), differences(teachers, image), strict=True)
    ]
    return torch.stack(terms).mean()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 3), points=st.integers(2, 4))
def test_pixel_similarity_equals_the_formula(seed: int, batch: int, points: int) -> None:
    draw = generator(seed)
    student = torch.randn(points, batch, 3, 3, 4, generator=draw, dtype=torch.float64)
    teachers = [torch.randn(batch, 2 + k, 3, 4, generator=draw, dtype=torch.float64) for k in range(points)]
    loss = PixelSimilarity()
    assert_same(lambda x: loss(list(x), teachers), lambda x: literal_pixel(list(x), teachers), student)


def test_maps_of_a_u_net_are_averaged_to_the_smallest() -> None:
    draw = generator(1)
    maps = [torch.randn(2, 3, side, side, generator=draw) for side in (4, 8, 16)]
    others = [torch.randn(2, 3, 4, 4, generator=draw) for _ in range(3)]
    pooled = [torch.nn.functional.avg_pool2d(feature, feature.shape[2] // 4) for feature in maps]
    torch.testing.assert_close(PixelSimilarity()(maps, others), PixelSimilarity("none")(pooled, others))
    with pytest.raises(PreceptorError, match="4×4 and 8×8 and 16×16"):
        PixelSimilarity("none")(maps, others)


def test_equal_attention_is_no_difference() -> None:
    student = torch.zeros(2, 3, 4, 4, requires_grad=True)  # what a dead layer gives
    alike = 1 + student  # two maps of equal attention
    value = PixelSimilarity()([alike, alike, student], [torch.rand(2, 3, 4, 4, generator=generator(2))] * 3)
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e3


def test_one_map_and_unknown_settings_are_refused() -> None:
    with pytest.raises(PreceptorError, match="1 maps of 4×4 places"):
        PixelSimilarity()([torch.zeros(1, 2, 4, 4)], [torch.zeros(1, 2, 4, 4)])
    with pytest.raises(PreceptorError, match="resize: 'max'"):
        PixelSimilarity("max")  # type: ignore[arg-type]


def literal_category(student: Tensor, teacher: Tensor) -> Tensor:
    def overlap(logits: Tensor) -> Tensor:
        _, height, width = logits.shape
        places = [
            logits[:, y : y + 2, x : x + 2].flatten(1).mean(1) for y in range(0, height, 2) for x in range(0, width, 2)
        ]
        weights = (torch.stack(places, 1) / 4).exp()
        weights = weights / weights.sum(1, keepdim=True)
        return torch.stack([torch.stack([(a * b).sum() for b in weights]) for a in weights])

    terms = [((overlap(s) - overlap(t)) ** 2).sum() / len(s) ** 2 for s, t in zip(student, teacher, strict=True)]
    return torch.stack(terms).mean()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 3), classes=st.integers(2, 4), height=st.integers(4, 5))
def test_category_similarity_equals_the_formula(seed: int, batch: int, classes: int, height: int) -> None:
    student, teacher = 8 * torch.randn(2, batch, classes, height, 6, generator=generator(seed), dtype=torch.float64)
    loss = CategorySimilarity()
    assert_same(lambda x: loss(x, teacher), lambda x: literal_category(x, teacher), student)


def test_category_similarity_refuses_what_has_no_matrix() -> None:
    with pytest.raises(PreceptorError, match="two classes or more"):
        CategorySimilarity()(torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4))
    with pytest.raises(PreceptorError, match="two classes or more"):
        CategorySimilarity()(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(PreceptorError, match="temperature"):
        CategorySimilarity(0.0)
