from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same, drawn, probabilities
from torch import Tensor

from preceptor.losses.dkd import DecoupledKD, MaskDecoupledKD
from preceptor.losses.kl import KLDivergence
from preceptor.losses.standardise import standardised
from preceptor.utils.errors import PreceptorError


def literal(
    student: Tensor, teacher: Tensor, labels: list[int], alpha: float, beta: float, temperature: float
) -> Tensor:
    total = student.new_zeros(())
    for s, t, y in zip(student, teacher, labels, strict=True):
        p_s, p_t = (probabilities(z[None], temperature)[0] for z in (s, t))
        others = [index for index in range(len(s)) if index != y]
        o_s, o_t = p_s[others].sum(), p_t[others].sum()
        target = p_t[y] * (p_t[y] / p_s[y]).log() + o_t * (o_t / o_s).log()
        q_s, q_t = p_s[others] / o_s, p_t[others] / o_t
        total = total + alpha * target + beta * (q_t * (q_t / q_s).log()).sum()
    return temperature**2 * total / len(student)


def literal_standardised(logits: Tensor) -> Tensor:
    rows = []
    for z in logits:
        mean = z.sum() / len(z)
        spread = (((z - mean) ** 2).sum() / (len(z) - 1)).sqrt()
        rows.append((z - mean) / (spread + 1e-7))
    return torch.stack(rows)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    classes=st.integers(3, 7),
    beta=st.sampled_from([0.5, 2.0, 8.0]),
    temperature=st.sampled_from([1.0, 4.0]),
)
def test_equals_the_formula(seed: int, classes: int, beta: float, temperature: float) -> None:
    student, teacher = 3 * drawn(seed, 4, classes), 3 * drawn(seed + 1, 4, classes)
    labels = [seed % classes, 0, classes - 1, 1]
    loss = DecoupledKD(1.5, beta, temperature)
    assert_same(
        lambda x: loss(x, teacher, torch.tensor(labels)),
        lambda x: literal(x, teacher, labels, 1.5, beta, temperature),
        student,
    )


def test_masks_are_the_mean_over_pixels() -> None:
    student, teacher = 3 * drawn(7, 2, 4, 3, 2), 3 * drawn(8, 2, 4, 3, 2)
    masks = torch.arange(12).reshape(2, 3, 2) % 4
    pixels = teacher.movedim(1, -1).flatten(0, 2)

    def pixel_by_pixel(x: Tensor) -> Tensor:
        return literal(x.movedim(1, -1).flatten(0, 2), pixels, masks.flatten().tolist(), 1.0, 8.0, 4.0)

    assert_same(lambda x: MaskDecoupledKD()(x, teacher, masks), pixel_by_pixel, student)


def test_its_parts_make_up_plain_distillation() -> None:
    student, teacher, labels = drawn(1, 1, 5), drawn(2, 1, 5), torch.tensor([3])
    others = 1 - probabilities(teacher, 4.0)[0, 3].item()  # KD = TCKD + (1 - p_t)·NCKD
    value = DecoupledKD(1.0, others)(student, teacher, labels)
    torch.testing.assert_close(value, KLDivergence(4.0)(student, teacher))


def test_over_pixels_it_is_the_mean() -> None:
    student, teacher = drawn(1, 2, 4, 3, 3), drawn(2, 2, 4, 3, 3)
    labels = torch.randint(4, (2, 3, 3), generator=torch.Generator().manual_seed(0))
    flat = [logits.movedim(1, -1).reshape(-1, 4) for logits in (student, teacher)]
    torch.testing.assert_close(DecoupledKD()(student, teacher, labels), DecoupledKD()(*flat, labels.flatten()))


def test_networks_that_are_sure_give_finite_gradients() -> None:
    student = torch.tensor([[500.0, 0.0, -500.0], [-500.0, 0.0, 500.0]], requires_grad=True)
    DecoupledKD(temperature=1.0)(
        student, torch.tensor([[900.0, 0.0, 0.0], [900.0, 0.0, 0.0]]), torch.tensor([0, 0])
    ).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_two_classes_leave_plain_distillation_and_a_warning() -> None:
    student, teacher = drawn(1, 3, 2), drawn(2, 3, 2)
    with pytest.warns(UserWarning, match="with 2 classes"):
        value = DecoupledKD(2.0)(student, teacher, torch.tensor([0, 1, 1]))
    torch.testing.assert_close(value, 2 * KLDivergence(4.0)(student, teacher))


def test_one_class_is_refused() -> None:
    with pytest.raises(PreceptorError, match="of one class"):
        DecoupledKD()(torch.zeros(2, 1), torch.zeros(2, 1), torch.tensor([0, 0]))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(3, 7))
def test_standardised_logits_equal_the_formula(seed: int, classes: int) -> None:
    student, teacher, labels = 3 * drawn(seed, 3, classes), drawn(seed + 1, 3, classes), [0, classes - 1, 1]
    assert_same(
        lambda x: DecoupledKD(temperature=2.0, standardise=True)(x, teacher, torch.tensor(labels)),
        lambda x: literal(literal_standardised(x), literal_standardised(teacher), labels, 1.0, 8.0, 2.0),
        student,
    )
    assert_same(
        lambda x: KLDivergence(2.0, standardise=True)(x, teacher),
        lambda x: KLDivergence(2.0)(literal_standardised(x), literal_standardised(teacher)),
        student,
    )


def test_standardised_logits_forget_their_size() -> None:
    teacher = drawn(1, 4, 5)
    assert KLDivergence(2.0, standardise=True)(7 * teacher + 3, teacher).item() == pytest.approx(0, abs=1e-12)


def test_equal_logits_have_finite_gradients() -> None:
    student = torch.zeros(2, 4, requires_grad=True)
    KLDivergence(2.0, standardise=True)(student, torch.rand(2, 4)).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_fewer_than_three_classes_cannot_be_standardised() -> None:
    with pytest.raises(PreceptorError, match="kl: standardise with 2 classes"):
        KLDivergence(2.0, standardise=True)(torch.zeros(2, 2), torch.zeros(2, 2))
    assert standardised("kl", torch.tensor([[1.0, 2.0, 3.0]])).tolist()[0] == pytest.approx([-1, 0, 1])
