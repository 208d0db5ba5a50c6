from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same
from torch import Tensor

from preceptor.losses.ifvd import IntraClassVariation
from preceptor.losses.regions import members_of
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator


def literal_cosines(feature_map: Tensor, classes: Tensor, count: int) -> list[list[Tensor]]:
    """q of each place of each image; ``classes`` (B, h, w) are at the map's size."""
    rows = []
    for features, labels in zip(feature_map, classes, strict=True):
        places = list(zip(features.flatten(1).T, labels.flatten().tolist(), strict=True))
        row = []
        for feature, label in places:
            own = [other for other, its in places if its == label]
            prototype = torch.stack(own).sum(0) / (len(own) + 1e-6) if 0 <= label < count else feature
            lengths = [max(vector.square().sum().sqrt(), torch.tensor(1e-8)) for vector in (feature, prototype)]
            row.append((feature * prototype).sum() / (lengths[0] * lengths[1]))
        rows.append(row)
    return rows


def at_map_size(masks: Tensor, height: int, width: int) -> Tensor:
    """Nearest neighbour: the pixel whose index is the place's, scaled and rounded down."""
    rows = [place * masks.shape[1] // height for place in range(height)]
    columns = [place * masks.shape[2] // width for place in range(width)]
    return masks[:, rows][:, :, columns]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 3), classes=st.integers(2, 4), ignored=st.booleans())
def test_ifvd_equals_the_formula(seed: int, batch: int, classes: int, ignored: bool) -> None:
    draw = generator(seed)
    student = torch.randn(batch, 3, 3, 4, generator=draw, dtype=torch.float64)
    teacher = torch.randn(batch, 5, 3, 4, generator=draw, dtype=torch.float64)
    masks = torch.randint(classes, (batch, 7, 9), generator=draw)
    if ignored:
        masks[:, :4] = 255
    small = at_map_size(masks, 3, 4)

    def literal(x: Tensor) -> Tensor:
        ours, theirs = literal_cosines(x, small, classes), literal_cosines(teacher, small, classes)
        squares = [
            (a - b) ** 2 for left, right in zip(ours, theirs, strict=True) for a, b in zip(left, right, strict=True)
        ]
        return torch.stack(squares).mean()

    assert_same(lambda x: IntraClassVariation(classes)([x], [teacher], masks), literal, student)


def test_mean_over_classes_equals_the_formula() -> None:
    draw = generator(1)
    student = torch.randn(3, 3, 4, 4, generator=draw, dtype=torch.float64)
    teacher = torch.randn(3, 3, 4, 4, generator=draw, dtype=torch.float64)
    masks = torch.randint(3, (3, 4, 4), generator=draw)
    masks[1] = 0  # one class only

    def literal(x: Tensor) -> Tensor:
        images = []
        for ours, theirs, labels in zip(
            literal_cosines(x, masks, 3), literal_cosines(teacher, masks, 3), masks.flatten(1).tolist(), strict=True
        ):
            of_class = [
                torch.stack([(a - b) ** 2 for a, b, c in zip(ours, theirs, labels, strict=True) if c == label]).mean()
                for label in set(labels)
            ]
            images.append(torch.stack(of_class).mean())
        return torch.stack(images).mean()

    assert_same(lambda x: IntraClassVariation(3, "classes")([x], [teacher], masks), literal, student)


def test_gradient_flows_through_the_prototypes() -> None:
    """Checked by differences, with a place that is zero and a class that is absent."""
    draw = generator(2)
    student = torch.randn(2, 3, 2, 2, generator=draw, dtype=torch.float64)
    teacher = torch.randn(2, 3, 2, 2, generator=draw, dtype=torch.float64)
    masks = torch.tensor([[[0, 0], [1, 1]], [[0, 0], [0, 0]]])
    loss = IntraClassVariation(2)
    assert torch.autograd.gradcheck(lambda x: loss([x], [teacher], masks), student.requires_grad_())


def test_an_image_without_foreground_and_a_lost_lesion_are_finite() -> None:
    student, teacher = torch.randn(2, 2, 8, 4, 4, generator=generator(3))
    masks = torch.zeros(2, 64, 64, dtype=torch.long)
    masks[1, 3, 3] = 1  # between the places that the nearest neighbour takes
    assert members_of(masks, student, 2)[..., 1].sum() == 0
    student.requires_grad_()
    value = IntraClassVariation(2)([student], [teacher], masks)
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_an_unknown_average_is_refused() -> None:
    with pytest.raises(PreceptorError, match="average: 'pixels'"):
        IntraClassVariation(2, "pixels")  # type: ignore[arg-type]
