from __future__ import annotations

from collections.abc import Callable
from math import floor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from preceptor.losses.self_supervision import Pretext, SimilarityTransfer, TransformedLogits, ranked_filter
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator


def unit(rows: int, size: int, *address: int | str) -> Tensor:
    return functional.normalize(torch.randn(rows, size, generator=generator(*address), dtype=torch.float64), dim=1)


def cosine(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum() / (one.norm() * other.norm())


def literal_likenesses(rows: Tensor, views: int) -> list[tuple[Tensor, int]]:
    """(cosines with all upright images, its own) of each transformed row, in the order of the rows."""
    images = len(rows) // views
    result = []
    for view in range(1, views):
        for image in range(images):
            row = rows[view * images + image]
            result.append((torch.stack([cosine(row, rows[other]) for other in range(images)]), image))
    return result


def literal_filter(logits: list[list[float]], targets: list[int], keep: float) -> list[bool]:
    ranks = [sum(score > row[right] for score in row) for row, right in zip(logits, targets, strict=True)]
    wrong = sorted((place for place, rank in enumerate(ranks) if rank), key=lambda place: ranks[place])
    staying = wrong[: floor(keep * len(wrong))]
    return [rank == 0 or place in staying for place, rank in enumerate(ranks)]


def literal_divergence(
    students: list[Tensor], teachers: list[Tensor], targets: list[int], temperature: float, keep: float
) -> Tensor:
    kept = literal_filter([row.tolist() for row in teachers], targets, keep)
    total = students[0].sum() * 0
    for student, teacher, stays in zip(students, teachers, kept, strict=True):
        if stays:
            ours, theirs = (side.div(temperature).exp() for side in (student, teacher))
            ours, theirs = ours / ours.sum(), theirs / theirs.sum()
            total = total + (theirs * (theirs / ours).log()).sum()
    return temperature**2 * total / max(sum(kept), 1)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(st.lists(st.integers(0, 3), min_size=4, max_size=4), st.integers(0, 3)), max_size=12),
    keep=st.sampled_from([0.0, 0.3, 0.5, 0.75, 0.99, 1.0]) | st.floats(0, 1),
)
def test_the_filter_is_as_it_is_said(rows: list[tuple[list[int], int]], keep: float) -> None:
    """Small whole numbers for logits: ties within a row, and between the ranks of several."""
    logits, targets = [[float(score) for score in row] for row, _ in rows], [right for _, right in rows]
    mask = ranked_filter(torch.tensor(logits).reshape(-1, 4), torch.tensor(targets, dtype=torch.long), keep)
    assert mask.dtype == torch.bool
    assert mask.tolist() == literal_filter(logits, targets, keep)


def test_the_worst_errors_go_first_and_the_earlier_of_equals_stays() -> None:
    logits = torch.tensor([[3.0, 2, 1, 0]]).repeat(6, 1)
    right = torch.tensor([3, 1, 0, 2, 1, 3])
    assert ranked_filter(logits, right, 0.6).tolist() == [False, True, True, True, True, False]
    assert ranked_filter(logits, right, 0.8).tolist() == [True, True, True, True, True, False]
    assert ranked_filter(logits, right, 0.0).tolist() == [False, False, True, False, False, False]
    assert ranked_filter(logits, right, 1.0).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), images=st.integers(1, 5), views=st.integers(2, 4), size=st.integers(1, 6))
def test_the_pretext_equals_the_formula(seed: int, images: int, views: int, size: int) -> None:
    def literal(rows: Tensor) -> Tensor:
        # gradients are those at unit rows: lengths are taken for constant, as the loss takes them for one
        upright = rows[:images]
        terms = [
            (upright @ row).exp().sum().log() - upright[place % images] @ row for place, row in enumerate(rows[images:])
        ]
        return torch.stack(terms).mean()

    assert_same(lambda rows: Pretext()(rows, views), literal, unit(views * images, size, seed))


def test_the_pretext_is_a_cross_entropy_of_cosines() -> None:
    rows = unit(12, 5, 1)
    terms = [-scores.softmax(0)[own].log() for scores, own in literal_likenesses(rows, 3)]
    assert Pretext()(rows, 3).item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 5),
    views=st.integers(2, 4),
    temperature=st.sampled_from([0.1, 0.5, 4.0]),
    keep=st.sampled_from([0.0, 0.5, 0.75, 1.0]),
)
def test_similarities_equal_the_formula(seed: int, images: int, views: int, temperature: float, keep: float) -> None:
    teacher, loss = unit(views * images, 7, seed, "teacher"), SimilarityTransfer(temperature, keep)
    theirs = literal_likenesses(teacher, views)

    def literal(rows: Tensor) -> Tensor:
        ours = [rows[:images] @ row for row in rows[images:]]
        scores, own = [scores for scores, _ in theirs], [own for _, own in theirs]
        return literal_divergence(ours, scores, own, temperature, keep)

    assert_same(lambda rows: loss(rows, teacher, views), literal, unit(views * images, 3, seed))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 5),
    views=st.integers(2, 4),
    temperature=st.sampled_from([1.0, 4.0]),
    keep=st.sampled_from([0.0, 0.5, 0.75, 1.0]),
)
def test_logits_equal_the_formula(seed: int, images: int, views: int, temperature: float, keep: float) -> None:
    draw = generator(seed)
    student, teacher = 3 * torch.randn(2, views * images, 4, generator=draw, dtype=torch.float64)
    labels = torch.randint(4, (images,), generator=draw)
    loss = TransformedLogits(temperature, keep)

    def literal(rows: Tensor) -> Tensor:
        ours, theirs = list(rows[images:]), list(teacher[images:])
        return literal_divergence(ours, theirs, labels.tolist() * (views - 1), temperature, keep)

    assert_same(lambda rows: loss(rows, teacher, labels, views), literal, student)


def test_gradients_agree_with_finite_differences() -> None:
    rows, teacher = unit(9, 4, 2).requires_grad_(), unit(9, 6, 3)
    assert torch.autograd.gradcheck(lambda rows: Pretext()(rows, 3), rows)
    assert torch.autograd.gradcheck(lambda rows: SimilarityTransfer()(rows, teacher, 3), rows)
    labels = torch.tensor([0, 3, 2])
    loss = TransformedLogits(keep=0.5)
    assert torch.autograd.gradcheck(lambda rows: loss(rows, teacher[:, :4], labels, 3), rows)


def test_upright_logits_have_no_part_in_the_transformed_ones() -> None:
    student = torch.randn(8, 3, generator=generator(4)).requires_grad_()
    TransformedLogits()(student, torch.randn(8, 3, generator=generator(5)), torch.tensor([0, 1]), 4).backward()
    assert student.grad is not None
    assert not student.grad[:2].any()
    assert student.grad[2:].ne(0).all()


def test_a_teacher_that_is_always_wrong_may_leave_nothing() -> None:
    teacher = torch.tensor([[1.0, 0.0]]).repeat(4, 1)
    student = torch.randn(4, 2, generator=generator(6)).requires_grad_()
    value = TransformedLogits(keep=0.0)(student, teacher, torch.tensor([1, 1]), 2)
    value.backward()
    assert value.item() == 0
    assert student.grad is not None
    assert not student.grad.any()


def test_nothing_is_read_back_from_the_device() -> None:
    """Fake tensors have no values: whatever asks for one, as ``.item()`` or a mask does, raises."""
    with FakeTensorMode():
        rows = torch.randn(12, 5, requires_grad=True)
        teacher, labels = torch.randn(12, 5), torch.zeros(4, dtype=torch.long)
        value = (
            Pretext()(rows, 3) + SimilarityTransfer()(rows, teacher, 3) + TransformedLogits()(rows, teacher, labels, 3)
        )
        value.backward()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Pretext()(torch.zeros(4, 2), 1), "views: 1"),
        (lambda: Pretext()(torch.zeros(4, 2), 3), "4 rows are not 3 views"),
        (lambda: SimilarityTransfer(temperature=0.0), "temperature"),
        (lambda: TransformedLogits(keep=1.5), "keep"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(PreceptorError, match=message):
        call()
