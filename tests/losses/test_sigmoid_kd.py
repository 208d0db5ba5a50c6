from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same, drawn
from torch import Tensor

from preceptor.losses.kl import KLDivergence
from preceptor.losses.sigmoid_kd import SigmoidKD


def literal(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    total = student.new_zeros(())
    for z_s, z_t in zip(student.flatten(), teacher.flatten(), strict=True):
        p_s, p_t = (1 / (1 + (-z / temperature).exp()) for z in (z_s, z_t))
        total = total + p_t * (p_t / p_s).log() + (1 - p_t) * ((1 - p_t) / (1 - p_s)).log()
    return temperature**2 * total / len(student)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 4),
    labels=st.integers(1, 5),
    temperature=st.sampled_from([1.0, 4.0]),
)
def test_equals_the_formula(seed: int, batch: int, labels: int, temperature: float) -> None:
    student, teacher = 2 * drawn(seed, batch, labels), 2 * drawn(seed + 1, batch, labels)
    assert_same(lambda x: SigmoidKD(temperature)(x, teacher), lambda x: literal(x, teacher, temperature), student)


def test_one_logit_is_a_softmax_over_it_and_zero() -> None:
    student, teacher = drawn(1, 3, 1, 4, 4), drawn(2, 3, 1, 4, 4)
    pairs = [torch.cat([torch.zeros_like(logits), logits], 1) for logits in (student, teacher)]
    torch.testing.assert_close(SigmoidKD(4.0)(student, teacher), KLDivergence(4.0)(*pairs))


def test_networks_that_are_sure_give_finite_gradients() -> None:
    student = torch.tensor([[500.0, -500.0]], requires_grad=True)
    value = SigmoidKD()(student, torch.tensor([[-500.0, -500.0]]))
    value.backward()
    assert value.item() == 500
    assert student.grad is not None
    assert student.grad.tolist() == [[1.0, 0.0]]
