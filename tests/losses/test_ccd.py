from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn import functional

from preceptor.losses import bank_scores
from preceptor.losses.ccd import ClassContrastive, ContrastiveRepresentation
from preceptor.networks.memory_bank import MemoryBank
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator

LABELS = torch.tensor([0] * 30 + [1] * 12 + [2] * 3 + [3])
SIZE = 6


def unit(count: int, seed: int) -> Tensor:
    rows = torch.randn(count, SIZE, generator=generator(seed, "unit"), dtype=torch.float64)
    return functional.normalize(rows, dim=1)


def literal_scores(queries: Tensor, bank: Tensor, index: Tensor, temperature: float) -> Tensor:
    rows = [[(q @ bank[i] / temperature).exp() for i in row] for q, row in zip(queries, index, strict=True)]
    return torch.stack([torch.stack(row) for row in rows])


def literal_z(queries: Tensor, bank: Tensor, index: Tensor, temperature: float) -> Tensor:
    return literal_scores(queries, bank, index, temperature).mean().detach() * len(bank)


def literal_side(queries: Tensor, bank: Tensor, index: Tensor, positives: int, temperature: float, z: Tensor) -> Tensor:
    total = queries.new_zeros(())
    negatives = index.shape[1] - positives
    c = negatives / len(bank)
    for row in literal_scores(queries, bank, index, temperature) / z:
        for x in row[:positives]:
            total = total - (x / (x + c)).log() / positives
        for x in row[positives:]:
            total = total - (c / (x + c)).log()
    return total / len(queries)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 5),
    positives=st.integers(1, 6),
    negatives=st.integers(1, 50),
    temperature=st.sampled_from([0.05, 0.07, 0.5, 2.0]),
    one_positive=st.booleans(),
    dense=st.booleans(),
    side=st.sampled_from(["student", "teacher"]),
)
def test_equals_the_formula(
    seed: int,
    batch: int,
    positives: int,
    negatives: int,
    temperature: float,
    one_positive: bool,
    dense: bool,
    side: str,
) -> None:
    student, teacher = unit(batch, seed), unit(batch, seed + 1)
    student_bank, teacher_bank = unit(len(LABELS), seed + 2), unit(len(LABELS), seed + 3)
    rows = torch.randperm(len(LABELS), generator=generator(seed))[:batch]

    def fresh() -> ClassContrastive:
        if one_positive:
            return ContrastiveRepresentation(negatives, temperature, row_labels=LABELS).double()
        return ClassContrastive(positives, negatives, temperature, row_labels=LABELS).double()

    index = fresh().sample(rows, generator(seed, "sample"))
    count = fresh().positives
    z = [literal_z(*at, index, temperature) for at in ((student, teacher_bank), (teacher, student_bank))]

    def literal(point: Tensor) -> Tensor:
        s, t = (point, teacher) if side == "student" else (student, point)
        ours = literal_side(s, teacher_bank, index, count, temperature, z[0])
        return ours + literal_side(t, student_bank, index, count, temperature, z[1])

    def fast(point: Tensor) -> Tensor:
        s, t = (point, teacher) if side == "student" else (student, point)
        return fresh()(s, t, rows, student_bank, teacher_bank, generator(seed, "sample"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bank_scores, "DENSE_UNTIL", 10**9 if dense else 0)
        assert_same(fast, literal, student if side == "student" else teacher)


def settled(**arguments: object) -> tuple[ClassContrastive, dict[str, object]]:
    """A loss that has seen its first batch, and inputs for the second."""
    loss = ClassContrastive(4, 10, row_labels=LABELS, **arguments).double()  # type: ignore[arg-type]
    inputs = {
        "student": unit(4, 1),
        "teacher": unit(4, 2),
        "rows": torch.tensor([0, 31, 43, 45]),
        "student_bank": unit(len(LABELS), 3),
        "teacher_bank": unit(len(LABELS), 4),
    }
    loss(**inputs, generator=generator(0))
    return loss, inputs


def test_gradient_agrees_with_finite_differences() -> None:
    loss, inputs = settled()  # Z stands, so that it does not move with the point

    def value(student: Tensor, teacher: Tensor) -> Tensor:
        return loss(**{**inputs, "student": student, "teacher": teacher}, generator=generator(5))

    points = [inputs[name].clone().requires_grad_() for name in ("student", "teacher")]  # type: ignore[attr-defined]
    assert torch.autograd.gradcheck(value, points)


def test_the_first_batch_settles_z() -> None:
    loss, inputs = settled()
    index = ClassContrastive(4, 10, row_labels=LABELS).sample(inputs["rows"], generator(0))  # type: ignore[arg-type]
    expected = literal_z(inputs["student"], inputs["teacher_bank"], index, 0.07).log()  # type: ignore[arg-type]
    assert loss.log_z[0].item() == pytest.approx(expected.item(), rel=1e-9)
    settled_at = loss.log_z.clone()
    loss(**inputs, generator=generator(1))
    assert torch.equal(loss.log_z, settled_at)


def test_a_running_z_moves_a_hundredth_of_the_way() -> None:
    loss, inputs = settled(normaliser="running")
    before = loss.log_z.exp()
    index = loss.sample(inputs["rows"], generator(1))  # type: ignore[arg-type]
    now = literal_z(inputs["student"], inputs["teacher_bank"], index, 0.07)  # type: ignore[arg-type]
    loss(**inputs, generator=generator(1))
    assert loss.log_z[0].exp().item() == pytest.approx((0.99 * before[0] + 0.01 * now).item(), rel=1e-9)


def test_a_settled_loss_that_loads_the_state_of_a_new_one_settles_again() -> None:
    loss, inputs = settled()
    before = loss.log_z.clone()
    loss.load_state_dict(ClassContrastive(4, 10, row_labels=LABELS).state_dict())
    loss(**{**inputs, "student": inputs["teacher"]}, generator=generator(0))
    assert loss.log_z.isfinite().all()
    assert loss.log_z[0] != before[0]


@pytest.mark.parametrize("normaliser", ["first", "running"])
def test_z_stands_still_in_evaluation(normaliser: str) -> None:
    loss, inputs = settled(normaliser=normaliser)
    before = loss.log_z.clone()
    loss.eval()(**inputs, generator=generator(1))
    assert torch.equal(loss.log_z, before)


def test_with_z_the_value_begins_near_that_of_a_blind_guess() -> None:
    """x is about 1 then: log(1 + c) for a positive and kN·log(1 + 1/c) for the negatives, on either side."""
    labels = torch.randint(7, (2000,), generator=generator(0))
    banks = [MemoryBank(labels, 128, 7, generator(seed)) for seed in (1, 2)]
    student, teacher = functional.normalize(torch.randn(2, 32, 128, generator=generator(3)), dim=2)
    loss = ClassContrastive(20, 500, row_labels=labels)
    value = loss(student, teacher, torch.arange(32), *banks, generator(4))
    c = 500 / 2000
    assert value.item() < 2 * (log(1 + c) + 500 * log(1 + 1 / c))


def test_a_network_that_cannot_learn_adds_its_value_and_no_gradient() -> None:
    loss, inputs = settled()
    student = inputs["student"].clone().requires_grad_()  # type: ignore[attr-defined]
    value = loss(**{**inputs, "student": student}, generator=generator(2))
    both = loss(**inputs, generator=generator(2))
    assert value.item() == pytest.approx(both.item(), rel=1e-12)
    assert not both.requires_grad
    value.backward()
    assert student.grad is not None


def test_opposite_extremes_stay_finite() -> None:
    bank = functional.normalize(torch.randn(len(LABELS), 128, generator=generator(0)), dim=1)
    loss = ClassContrastive(4, 20, temperature=1e-4, row_labels=LABELS)
    student = bank[:4].clone().requires_grad_()
    value = loss(student, -bank[:4], torch.arange(4), bank, bank, generator(1))
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_crd_takes_everyone_else_for_a_negative() -> None:
    loss = ContrastiveRepresentation(len(LABELS) - 1, row_labels=LABELS)
    index = loss.sample(torch.tensor([3, 45]), generator(0))
    assert index[:, 0].tolist() == [3, 45]
    assert [set(row.tolist()) for row in index] == [set(range(len(LABELS)))] * 2


@pytest.mark.parametrize("copies", [1, 60], ids=["dense", "sparse"])
def test_nothing_is_read_back_from_the_device(copies: int) -> None:
    """Fake tensors have no values: whatever asks for one, as ``.item()`` or a mask does, raises."""
    labels = LABELS.repeat(copies)
    loss = ClassContrastive(4, 50, row_labels=labels)
    banks = [MemoryBank(labels, SIZE, 4, generator(side)) for side in range(2)]
    assert bank_scores.is_dense(banks[0].rows, torch.empty(1, 54)) == (copies == 1)
    with FakeTensorMode() as fake:
        for module in (loss, *banks):
            module._apply(fake.from_tensor)
        student, teacher = (torch.randn(4, SIZE, requires_grad=True) for _ in range(2))
        rows = torch.arange(4)
        loss(student, teacher, rows, *banks, generator(0)).backward()
        banks[0].update(rows, student)
        with pytest.raises(DataDependentOutputException):
            bool((student > 0).any())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"positives": 0}, "positives"),
        ({"negatives": -1}, "negatives"),
        ({"temperature": 0.0}, "temperature"),
        ({"normaliser": "once"}, "one of first, running"),
        ({"row_labels": torch.zeros(5, dtype=torch.long)}, "one class"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(PreceptorError, match=message):
        ClassContrastive(**{"row_labels": LABELS, **arguments})  # type: ignore[arg-type]
