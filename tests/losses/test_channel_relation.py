from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from literal_twins import assert_same
from torch import Tensor
from torch.nn import functional

from preceptor.losses import channel_relation
from preceptor.losses.channel_relation import ChannelRelation, Variant
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator

NEAR = 1e-12  # of squares under a root: nearer, what keeps the gradient finite where maps agree can be seen in 1e-6


def square_differences(student: Tensor, teacher: Tensor) -> Tensor:
    """Of each image, from the K×K matrices."""
    differences = []
    for ours, theirs in zip(student.flatten(2), teacher.flatten(2), strict=True):
        differences.append(theirs @ theirs.T - ours @ ours.T)
    return torch.stack([difference.square().sum() for difference in differences])


def literal(student: Tensor, teacher: Tensor, variant: str) -> Tensor:
    """The mean of their roots, or the root of their mean."""
    batch, channels, height, width = teacher.shape
    each = square_differences(student, teacher)
    if variant == "code":
        return (each.sum() / (batch * channels**2)).sqrt() / (channels * height * width)
    return each.sqrt().sum() / (channels * height * width) / batch


def maps(batch: int, channels: int, height: int, width: int, *address: int | str) -> Tensor:
    return torch.randn(batch, channels, height, width, generator=generator(*address), dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 5),
    channels=st.integers(1, 12),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    variant=st.sampled_from(["code", "text"]),
    closeness=st.sampled_from([1.0, 1e-3]),
    tile=st.sampled_from([1, 100, 1 << 19]),
)
def test_equals_the_formula(
    seed: int, batch: int, channels: int, height: int, width: int, variant: Variant, closeness: float, tile: int
) -> None:
    teacher = maps(batch, channels, height, width, seed).relu()
    student = teacher + closeness * maps(batch, channels, height, width, seed, "student")
    assume(min(square_differences(student, teacher)) > NEAR * channels**2)
    loss = ChannelRelation(channels, channels, variant, adapter="none")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel_relation, "_TILE", tile)
        assert_same(lambda point: loss(point, teacher), lambda point: literal(point, teacher, variant), student)


@settings(max_examples=20, deadline=None)
@given(
    student_size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    teacher_size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    variant=st.sampled_from(["code", "text"]),
)
def test_the_larger_map_is_averaged_to_the_smaller(
    student_size: tuple[int, int], teacher_size: tuple[int, int], variant: Variant
) -> None:
    student, teacher = maps(2, 3, *student_size, 1), maps(2, 4, *teacher_size, 2)
    loss = ChannelRelation(3, 4, variant, adapter="conv").double()
    size = tuple(min(pair) for pair in zip(student_size, teacher_size, strict=True))

    def twin(point: Tensor) -> Tensor:
        ours = loss.adapter(functional.adaptive_avg_pool2d(point, size))
        return literal(ours, functional.adaptive_avg_pool2d(teacher, size), variant)

    assert_same(lambda point: loss(point, teacher), twin, student)


@pytest.mark.parametrize("variant", ["code", "text"])
@pytest.mark.parametrize("places", [4, 30], ids=["by places", "by channels"])
def test_gradient_agrees_with_finite_differences(variant: Variant, places: int) -> None:
    teacher = maps(2, 8, 1, places, 3)
    loss = ChannelRelation(3, 8, variant).double()
    point = maps(2, 3, 1, places, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda student: loss(student, teacher), point)
    weight = loss.adapter[0].weight.detach().clone().requires_grad_()  # type: ignore[index]

    def of_weight(weight: Tensor) -> Tensor:
        return torch.func.functional_call(loss, {"adapter.0.weight": weight}, (point.detach(), teacher))

    assert torch.autograd.gradcheck(of_weight, weight)


@pytest.mark.parametrize("variant", ["code", "text"])
@pytest.mark.parametrize(("channels", "side"), [(256, 7), (40, 9)], ids=["by places", "by channels"])
def test_float32_stays_accurate_as_the_student_nears_the_teacher(variant: Variant, channels: int, side: int) -> None:
    teacher = maps(3, channels, side, side, 5).relu().float()
    student = (teacher + 1e-3 * maps(3, channels, side, side, 6)).float()
    loss = ChannelRelation(channels, channels, variant, adapter="none")
    near, twin = student.clone().requires_grad_(), student.double().requires_grad_()
    value, exact = loss(near, teacher), literal(twin, teacher.double(), variant)
    value.backward()
    exact.backward()
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)
    assert near.grad is not None
    assert twin.grad is not None
    limit = 1e-5 * twin.grad.abs().max().item()
    torch.testing.assert_close(near.grad.double(), twin.grad, rtol=0, atol=limit)


@pytest.mark.parametrize("variant", ["code", "text"])
@pytest.mark.parametrize("places", [4, 30], ids=["by places", "by channels"])
def test_equal_maps_give_nothing_and_a_finite_gradient(variant: Variant, places: int) -> None:
    teacher = maps(2, 8, 1, places, 7).float()
    student = teacher.clone().requires_grad_()
    value = ChannelRelation(8, 8, variant, adapter="none")(student, teacher)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-10)
    assert student.grad is not None
    assert not student.grad.any()


def test_the_text_is_as_many_times_the_code_as_there_are_channels() -> None:
    """Of images that all differ alike."""
    student, teacher = maps(1, 6, 3, 3, 8), maps(1, 6, 3, 3, 9)
    for batch in (1, 4):
        pair = student.expand(batch, -1, -1, -1), teacher.expand(batch, -1, -1, -1)
        code, text = (ChannelRelation(6, 6, variant, "none")(*pair).item() for variant in ("code", "text"))  # type: ignore[arg-type]
        assert text == pytest.approx(6 * code, rel=1e-9)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_any_memory_format_will_do(memory_format: torch.memory_format) -> None:
    student, teacher = maps(2, 5, 3, 3, 10), maps(2, 8, 3, 3, 11)
    loss = ChannelRelation(5, 8).double()
    point = student.clone(memory_format=memory_format).requires_grad_()
    loss(point, teacher.to(memory_format=memory_format)).backward()
    twin = student.clone().requires_grad_()
    literal(loss.adapter(twin), teacher, "code").backward()
    torch.testing.assert_close(point.grad, twin.grad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "paper"}, "one of code, text"),
        ({"adapter": "linear"}, "one of conv_bn_relu, conv, none"),
        ({"adapter": "none"}, "has 3 channels, the teacher's 4"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(PreceptorError, match=message):
        ChannelRelation(3, 4, **arguments)  # type: ignore[arg-type]
