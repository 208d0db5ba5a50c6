from __future__ import annotations

from statistics import median

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same, drawn, probabilities
from torch import Tensor

from preceptor.losses.mlld import MultiLevelLogits
from preceptor.utils.errors import PreceptorError

TEMPERATURES = (4.0, 3.0, 5.0, 2.0, 6.0)


def kd(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """(B,)"""
    p_s, p_t = probabilities(student, temperature), probabilities(teacher, temperature)
    return temperature**2 * (p_t * (p_t / p_s).log()).sum(1)


def batch_rows(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """(B,) squared differences of the rows of P·Pᵀ."""
    p_s, p_t = probabilities(student, temperature), probabilities(teacher, temperature)
    return torch.stack(
        [
            sum(((p_t[i] * p_t[j]).sum() - (p_s[i] * p_s[j]).sum()) ** 2 for j in range(len(p_s)))
            for i in range(len(p_s))
        ]
    )


def class_rows(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """(C,) squared differences of the rows of Pᵀ·P."""
    p_s, p_t = probabilities(student, temperature), probabilities(teacher, temperature)
    classes = range(p_s.shape[1])
    return torch.stack(
        [sum(((p_t[:, i] * p_t[:, j]).sum() - (p_s[:, i] * p_s[:, j]).sum()) ** 2 for j in classes) for i in classes]
    )


def masks(teacher: Tensor) -> tuple[Tensor, Tensor]:
    p = probabilities(teacher)
    images, classes = [max(row) for row in p.tolist()], p.sum(0).tolist()
    return (
        torch.tensor([float(value <= median(images)) for value in images], dtype=torch.float64),
        torch.tensor([float(value <= median(classes)) for value in classes], dtype=torch.float64),
    )


def official(student: Tensor, teacher: Tensor) -> Tensor:
    batch, classes = len(student) // 2, student.shape[1]
    (s_w, s_s), (t_w, t_s) = student.split(batch), teacher.split(batch)
    images, columns = masks(t_w)
    total = student.new_zeros(())
    for temperature in TEMPERATURES:
        total = total + (kd(s_w, t_w, temperature).mean() * images).mean()
        total = total + (class_rows(s_w, t_w, temperature).sum() / classes * columns).mean()
        total = total + (batch_rows(s_w, t_w, temperature).sum() / batch * images).mean()
    for temperature in (4.0, 3.0, 5.0):
        total = total + kd(s_s, t_s, temperature).mean()
    for temperature in (2.0, 6.0):
        total = total + kd(s_w, t_w, temperature).mean()
    return total


def text(student: Tensor, teacher: Tensor) -> Tensor:
    batch, classes = len(student) // 2, student.shape[1]
    (s_w, s_s), (t_w, t_s) = student.split(batch), teacher.split(batch)
    images, columns = masks(t_w)
    total = student.new_zeros(())
    for temperature in TEMPERATURES:
        for s, t, rows, of_classes in ((s_w, t_w, images, columns), (s_s, t_s, images * 0 + 1, columns * 0 + 1)):
            total = total + (kd(s, t, temperature) * rows).sum() / batch
            total = total + (batch_rows(s, t, temperature) * rows).sum() / batch
            total = total + (class_rows(s, t, temperature) * of_classes).sum() / classes
    return total


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 5), classes=st.integers(2, 5))
def test_official_equals_what_the_released_code_computes(seed: int, batch: int, classes: int) -> None:
    student, teacher = 2 * drawn(seed, 2 * batch, classes), 2 * drawn(seed + 1, 2 * batch, classes)
    assert_same(lambda x: MultiLevelLogits()(x, teacher, 2), lambda x: official(x, teacher), student)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 5), classes=st.integers(2, 5))
def test_text_equals_the_intention(seed: int, batch: int, classes: int) -> None:
    student, teacher = 2 * drawn(seed, 2 * batch, classes), 2 * drawn(seed + 1, 2 * batch, classes)
    assert_same(lambda x: MultiLevelLogits("text")(x, teacher, 2), lambda x: text(x, teacher), student)


def test_settings_and_views_are_checked() -> None:
    with pytest.raises(PreceptorError, match="five of them"):
        MultiLevelLogits(temperatures=[1.0, 2.0])
    with pytest.raises(PreceptorError, match=r"temperatures\[1\]"):
        MultiLevelLogits(temperatures=[1.0, 0.0, 1.0, 1.0, 1.0])
    with pytest.raises(PreceptorError, match="official, text"):
        MultiLevelLogits("paper")  # type: ignore[arg-type]
    with pytest.raises(PreceptorError, match="two views"):
        MultiLevelLogits()(torch.zeros(6, 3), torch.zeros(6, 3), 3)
