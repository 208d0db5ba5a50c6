from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same, drawn, probabilities
from torch import Tensor

from preceptor.losses.class_groups import frequency_groups
from preceptor.losses.ltkd import LongTailedKD
from preceptor.utils.errors import PreceptorError

COUNTS = torch.tensor([5, 100, 40, 1, 60, 20, 10])
GROUPS = [[1, 4], [2, 5, 6], [0, 3]]


def literal(student: Tensor, teacher: Tensor, sums: list[float] | None = None) -> Tensor:
    p_s, p_t = probabilities(student, 3.0), probabilities(teacher, 3.0)
    if sums is None:
        sums = [p_t[:, group].sum().item() for group in GROUPS]
    total = student.new_zeros(())
    for s, t in zip(p_s, p_t, strict=True):
        shares = torch.stack([t[group].sum() / sums[index] for index, group in enumerate(GROUPS)])
        shares = shares / shares.sum()
        for index, group in enumerate(GROUPS):
            total = total + 1.5 * shares[index] * (shares[index] / s[group].sum()).log()
            q_s, q_t = s[group] / s[group].sum(), t[group] / t[group].sum()
            total = total + 0.5 * (q_t * (q_t / q_s).log()).sum()
    return 9 * total / len(student)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 6), decay=st.sampled_from([0.0, 0.9]))
def test_equals_the_formula(seed: int, batch: int, decay: float) -> None:
    student, teacher = 2 * drawn(seed, batch, 7), 2 * drawn(seed + 1, batch, 7)

    def fresh(point: Tensor) -> Tensor:  # before its first batch
        return LongTailedKD(COUNTS, 1.5, 0.5, 3.0, decay).double()(point, teacher)

    assert_same(fresh, lambda x: literal(x, teacher), student)


def test_small_batches_are_given_a_running_mean_over_all_and_large_ones_their_own() -> None:
    loss = LongTailedKD(COUNTS, 1.5, 0.5, 3.0).double()
    first, second, student = 2 * drawn(1, 4, 7), 2 * drawn(2, 4, 7), drawn(3, 4, 7)
    loss(student, first)
    means = [probabilities(teacher, 3.0)[:, group].sum(1).mean() for teacher in (first, second) for group in GROUPS]
    running = [(0.9 * before + 0.1 * now).item() for before, now in zip(means[:3], means[3:], strict=True)]
    torch.testing.assert_close(loss(student, second), literal(student, second, running))
    large, students = 2 * drawn(4, 64, 7), drawn(5, 64, 7)
    torch.testing.assert_close(loss(students, large), literal(students, large))
    means = [probabilities(large, 3.0)[:, group].sum(1).mean() for group in GROUPS]
    running = [(0.9 * before + 0.1 * now).item() for before, now in zip(running, means, strict=True)]
    torch.testing.assert_close(loss.eval()(student, first), literal(student, first, running))


def test_without_rebalancing_its_parts_are_plain_distillation() -> None:
    """The identity KL = KL over groups + Σ p_G·KL within them, on one image, whose own sums rebalance nothing."""
    p_s, p_t = probabilities(drawn(1, 1, 7)), probabilities(drawn(2, 1, 7))
    whole = (p_t * (p_t / p_s).log()).sum()
    parts = whole.new_zeros(())
    for group in GROUPS:
        g_s, g_t = p_s[:, group].sum(), p_t[:, group].sum()
        within = (p_t[:, group] / g_t * (p_t[:, group] / g_t * g_s / p_s[:, group]).log()).sum()
        parts = parts + g_t * (g_t / g_s).log() + g_t * within
    torch.testing.assert_close(whole, parts)


@pytest.mark.parametrize(
    ("classes", "sizes"), [(1, [1]), (2, [1, 1]), (3, [1, 1, 1]), (4, [1, 2, 1]), (7, [2, 3, 2]), (100, [33, 34, 33])]
)
def test_groups_are_thirds_of_the_classes(classes: int, sizes: list[int]) -> None:
    assert [len(group) for group in frequency_groups(torch.arange(classes, 0, -1))] == sizes


def test_groups_follow_the_counts() -> None:
    assert [sorted(group.tolist()) for group in frequency_groups(COUNTS)] == [sorted(group) for group in GROUPS]


def test_a_group_that_the_teacher_never_gives_is_no_nan() -> None:
    student, teacher = torch.zeros(2, 7, requires_grad=True), torch.zeros(2, 7)
    teacher[:, [0, 3]] = -1e4
    value = LongTailedKD(COUNTS)(student, teacher)
    value.backward()
    assert value.isfinite()


def test_other_classes_than_counted_are_refused() -> None:
    with pytest.raises(PreceptorError, match="ltkd: logits of 5 classes"):
        LongTailedKD(COUNTS)(torch.zeros(2, 5), torch.zeros(2, 5))
    with pytest.raises(PreceptorError, match="decay"):
        LongTailedKD(COUNTS, decay=1.0)
