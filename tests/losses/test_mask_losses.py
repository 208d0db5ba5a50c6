"""Losses of masks and maps: focal, Dice, cross-entropy over pixels, feature maps, channel-wise distillation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import log
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same
from torch import Tensor, nn

from preceptor.losses.cross_entropy import CrossEntropy, MaskCrossEntropy
from preceptor.losses.cwd import ChannelWise, ChannelWiseMap
from preceptor.losses.dice import PooledDice, SoftDice
from preceptor.losses.feature_mse import FeatureMSE
from preceptor.losses.focal import Focal, LabelFocal
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator

FEW = settings(max_examples=10, deadline=None)


def scene(seed: int, batch: int, classes: int, side: int = 3) -> tuple[Tensor, Tensor]:
    draw = generator(seed)
    logits = 3 * torch.randn(batch, classes, side, side + 1, generator=draw, dtype=torch.float64)
    return logits, torch.randint(classes, (batch, side, side + 1), generator=draw)


def probabilities(logits: Tensor) -> Tensor:
    return logits.exp() / logits.exp().sum(1, keepdim=True)


# --- focal -----


def literal_focal(logits: Tensor, labels: Tensor, gamma: float, weights: list[float]) -> Tensor:
    rows = logits.movedim(1, -1).reshape(-1, logits.shape[1])
    total = logits.new_zeros(())
    for row, label in zip(rows, labels.flatten().tolist(), strict=True):
        p = (row.exp() / row.exp().sum())[label]
        total = total - weights[label] * (1 - p) ** gamma * p.log()
    return total / len(rows)


@FEW
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 4),
    classes=st.integers(2, 4),
    gamma=st.sampled_from([0.0, 1.0, 2.0, 3.5]),
    weighted=st.booleans(),
)
def test_focal_equals_the_formula(seed: int, batch: int, classes: int, gamma: float, weighted: bool) -> None:
    weights = [0.25, 1.0, 2.0, 4.0][:classes] if weighted else [1.0] * classes
    loss = Focal(gamma, weights if weighted else "none").double()
    logits, masks = scene(seed, batch, classes)
    assert_same(lambda x: loss(x, masks), lambda x: literal_focal(x, masks, gamma, weights), logits)
    flat, labels = logits[:, :, 0, 0], masks[:, 0, 0]
    assert_same(lambda x: loss(x, labels), lambda x: literal_focal(x, labels, gamma, weights), flat)


def test_focal_gradient_agrees_with_finite_differences() -> None:
    logits, masks = scene(1, 2, 3)
    assert torch.autograd.gradcheck(lambda x: Focal(2.0, [1.0, 2.0, 3.0]).double()(x, masks), logits.requires_grad_())


def test_focal_without_gamma_is_cross_entropy() -> None:
    logits, masks = scene(2, 3, 3)
    torch.testing.assert_close(Focal(0.0)(logits, masks), CrossEntropy()(logits, masks))


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_focal_is_finite_for_certain_networks(gamma: float) -> None:
    logits = torch.tensor([[1e4, -1e4], [1e4, -1e4]], requires_grad=True)
    value = Focal(gamma)(logits, torch.tensor([0, 1]))  # certain and right, certain and wrong
    value.backward()
    assert value.item() == pytest.approx(1e4)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_focal_of_nearly_certain_pixels_does_not_cancel() -> None:
    logits = torch.tensor([[0.0, -12.0]])
    literal = literal_focal(logits.double(), torch.tensor([0]), 2.0, [1.0, 1.0]).item()
    assert Focal()(logits, torch.tensor([0])).item() == pytest.approx(literal, rel=1e-3)


def test_focal_weights_of_labels_come_from_the_training_part() -> None:
    logits, labels = torch.randn(4, 3, generator=generator(1)), torch.tensor([0, 1, 2, 2])
    counted = LabelFocal(class_weights="inverse_frequency", class_counts=torch.tensor([1, 2, 3]))
    torch.testing.assert_close(counted(logits, labels), Focal(class_weights=[2.0, 1.0, 2 / 3])(logits, labels))


@pytest.mark.parametrize("gamma", [-1.0, 0.5, float("nan"), float("inf")])
def test_focal_refuses_a_gamma_out_of_range(gamma: float) -> None:
    with pytest.raises(PreceptorError, match="gamma"):
        Focal(gamma)


def test_focal_weights_must_match_the_logits() -> None:
    with pytest.raises(PreceptorError, match="2 weights for 3 classes"):
        Focal(class_weights=[1.0, 2.0])(torch.zeros(1, 3), torch.tensor([0]))


# --- cross-entropy over pixels -----


def test_cross_entropy_over_masks_is_that_of_the_pixels() -> None:
    logits, masks = scene(3, 2, 3)
    pixels = logits.movedim(1, -1).reshape(-1, 3)
    loss = MaskCrossEntropy([1.0, 2.0, 5.0], 0.1).double()
    torch.testing.assert_close(loss(logits, masks.byte()), loss(pixels, masks.flatten()))


# --- Dice -----


def literal_dice(logits: Tensor, masks: Tensor, smooth: float) -> Tensor:
    p = probabilities(logits)
    terms = []
    for image in range(len(logits)):
        for index in range(1, logits.shape[1]):
            inside = masks[image] == index
            overlap = p[image, index][inside].sum()
            terms.append(1 - (2 * overlap + smooth) / (p[image, index].sum() + inside.sum() + smooth))
    return torch.stack(terms).mean()


@FEW
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 4),
    classes=st.integers(2, 4),
    smooth=st.sampled_from([1e-3, 1.0, 10.0]),
)
def test_dice_equals_the_formula(seed: int, batch: int, classes: int, smooth: float) -> None:
    logits, masks = scene(seed, batch, classes)
    assert_same(lambda x: SoftDice(smooth)(x, masks), lambda x: literal_dice(x, masks, smooth), logits)
    # Pooled, the batch is one tall image.
    tall = torch.cat(list(logits), dim=1)[None], torch.cat(list(masks))[None]
    assert_same(
        lambda x: PooledDice(smooth)(torch.stack(x[0].chunk(batch, 1)), masks),
        lambda x: literal_dice(x, tall[1], smooth),
        tall[0],
    )


def test_dice_gradient_agrees_with_finite_differences() -> None:
    logits, masks = scene(4, 2, 3)
    assert torch.autograd.gradcheck(lambda x: SoftDice()(x, masks), logits.requires_grad_())


def test_dice_of_empty_masks_is_defined() -> None:
    empty = torch.zeros(1, 4, 4, dtype=torch.long)
    silent, loud = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    silent[:, 0], loud[:, 1] = 100, 100
    assert SoftDice()(silent, empty).item() == pytest.approx(0, abs=1e-6)
    assert SoftDice()(loud, empty).item() == pytest.approx(1 - 1 / 17)
    unsure = torch.zeros(1, 2, 4, 4, requires_grad=True)
    SoftDice()(unsure, empty).backward()
    assert unsure.grad is not None
    assert (unsure.grad[:, 1] > 0).all()  # away from the lesion


def test_dice_worked_by_hand() -> None:
    # p of the lesion 0.8 inside and 0.4 outside; a mask of one pixel of two
    p = torch.tensor([0.8, 0.4]).view(1, 1, 1, 2)
    logits = torch.cat([(1 - p).log(), p.log()], 1)
    mask = torch.tensor([1, 0]).view(1, 1, 2)
    assert SoftDice(smooth=1.0)(logits, mask).item() == pytest.approx(1 - (1.6 + 1) / (1.2 + 1 + 1))


def test_dice_refuses_what_it_cannot_measure() -> None:
    with pytest.raises(PreceptorError, match="smooth"):
        SoftDice(0.0)
    with pytest.raises(PreceptorError, match="of one class"):
        SoftDice()(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long))


# --- feature maps -----


def literal_pooled(feature_map: Tensor, side: int) -> Tensor:
    cell = feature_map.shape[2] // side
    places = [
        feature_map[:, :, row * cell : (row + 1) * cell, column * cell : (column + 1) * cell].mean((2, 3))
        for row in range(side)
        for column in range(side)
    ]
    return torch.stack(places, 2).unflatten(2, (side, side))


@pytest.mark.parametrize(("student_side", "teacher_side"), [(2, 2), (2, 4), (4, 2)])
def test_feature_mse_equals_the_formula(student_side: int, teacher_side: int) -> None:
    draw = generator(6)
    student = torch.randn(3, 4, student_side, student_side, generator=draw, dtype=torch.float64)
    teacher = torch.randn(3, 4, teacher_side, teacher_side, generator=draw, dtype=torch.float64)

    def literal(x: Tensor) -> Tensor:
        difference = literal_pooled(x, 2) - literal_pooled(teacher, 2)
        return difference.square().sum() / difference.numel()

    assert_same(lambda x: FeatureMSE(4, 4)(x, teacher), literal, student)


@pytest.mark.parametrize("build", [FeatureMSE, partial(ChannelWiseMap, adapter="none")])
def test_channels_must_agree(build: Callable[[int, int], nn.Module]) -> None:
    with pytest.raises(PreceptorError, match=r"5 channels, the other's 8[\s\S]*map_channels=5"):
        build(5, 8)


# --- channel-wise distillation -----


def literal_cwd(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    total = student.new_zeros(())
    for s, t in zip(student.flatten(0, 1), teacher.flatten(0, 1), strict=True):
        p_s = (s / temperature).exp() / (s / temperature).exp().sum()
        p_t = (t / temperature).exp() / (t / temperature).exp().sum()
        total = total + (p_t * (p_t / p_s).log()).sum()
    return temperature**2 * total / (student.shape[0] * student.shape[1])


@FEW
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 4), temperature=st.floats(0.5, 10))
def test_cwd_equals_the_formula(seed: int, batch: int, temperature: float) -> None:
    student, teacher = 3 * torch.randn(2, batch, 3, 4, 5, generator=generator(seed), dtype=torch.float64)
    loss = ChannelWise(temperature)
    assert_same(lambda x: loss(x, teacher), lambda x: literal_cwd(x, teacher, temperature), student)


@pytest.mark.parametrize("adapter", ["conv", "conv_bn_relu"])
def test_cwd_of_maps_equals_the_formula(adapter: Literal["conv", "conv_bn_relu"]) -> None:
    draw = generator(8)
    student = torch.randn(2, 3, 4, 4, generator=draw, dtype=torch.float64)
    teacher = torch.randn(2, 5, 4, 4, generator=draw, dtype=torch.float64)
    loss = ChannelWiseMap(3, 5, adapter=adapter).double()

    def literal(x: Tensor) -> Tensor:
        (weight,) = (parameter for parameter in loss.parameters() if parameter.ndim == 4)
        taken = torch.einsum("ck,bkhw->bchw", weight[:, :, 0, 0], x)
        if adapter == "conv_bn_relu":
            mean = taken.mean((0, 2, 3), keepdim=True)
            variance = (taken - mean).square().mean((0, 2, 3), keepdim=True)
            taken = ((taken - mean) / (variance + 1e-5).sqrt()).clamp(min=0)
        return literal_cwd(taken, teacher, 4.0)

    assert_same(lambda x: loss(x, teacher), literal, student)


def test_cwd_of_maps_of_as_many_channels_learns_no_adapter() -> None:
    assert not list(ChannelWiseMap(5, 5).parameters())
    assert len(list(ChannelWiseMap(5, 5, adapter="conv_bn_relu").parameters())) == 3
    with pytest.raises(PreceptorError, match="adapter: 'linear'"):
        ChannelWiseMap(5, 5, adapter="linear")  # type: ignore[arg-type]


def test_cwd_looks_at_places_not_at_size() -> None:
    maps = torch.randn(2, 3, 4, 4, generator=generator(7))
    assert ChannelWise()(maps + 5, maps).item() == pytest.approx(0, abs=1e-5)
    assert ChannelWise()(maps.flip(3), maps).item() > 0.01


def test_cwd_worked_by_hand() -> None:
    student = torch.tensor([log(0.25), log(0.75)]).view(1, 1, 1, 2)
    assert ChannelWise(1.0)(student, torch.zeros(1, 1, 1, 2)).item() == pytest.approx(0.5 * log(2) + 0.5 * log(2 / 3))


def test_cwd_refuses_what_is_no_map() -> None:
    with pytest.raises(PreceptorError, match="2 dimensions"):
        ChannelWise()(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(PreceptorError, match="temperature"):
        ChannelWise(0.0)
