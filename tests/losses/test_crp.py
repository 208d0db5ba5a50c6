from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_twins import assert_same
from torch import Tensor

from preceptor.losses.crp import CategoricalRelation
from preceptor.networks.memory_bank import MemoryBank
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator

LABELS = torch.tensor([0] * 9 + [1] * 5 + [2] * 2 + [3])
SIZE = 6


def literal_relation(query: Tensor, bank: Tensor, rectified: bool, temperature: float) -> list[Tensor]:
    cosines = []
    for label in range(4):
        rows = bank[label == LABELS]
        centroid = (rows.clamp(min=0) if rectified else rows).sum(0) / len(rows)
        lengths = query.square().sum().sqrt() * centroid.square().sum().sqrt()
        cosines.append(query @ centroid / lengths if lengths > 0 else 0 * query.sum())
    powers = [(cosine / temperature).exp() for cosine in cosines]
    return [power / sum(powers) for power in powers]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 6),
    variant=st.sampled_from(["paper", "official"]),
    temperature=st.sampled_from([None, 0.3]),
    carried=st.booleans(),
)
def test_equals_the_formula(seed: int, batch: int, variant: str, temperature: float | None, carried: bool) -> None:
    student, teacher = torch.randn(2, batch, SIZE, generator=generator(seed), dtype=torch.float64)
    banks: list[Tensor | MemoryBank] = []
    plain: list[Tensor] = []
    for side in range(2):
        bank = MemoryBank(LABELS, SIZE, 4, generator(seed, side)).double()
        plain.append(bank.rows)
        banks.append(bank if carried else bank.rows)
    loss = CategoricalRelation(variant, temperature, LABELS)  # type: ignore[arg-type]
    tau = temperature or (0.07 if variant == "official" else 1.0)

    def literal(point: Tensor) -> Tensor:
        total = point.new_zeros(())
        for s, t in zip(point, teacher, strict=True):
            ours = literal_relation(s, plain[0], variant == "official", tau)
            theirs = literal_relation(t, plain[1], variant == "official", tau)
            total = total + sum(q * (q / p).log() for p, q in zip(ours, theirs, strict=True))
        return total / batch

    assert_same(lambda point: loss(point, teacher, *banks), literal, student)


def test_gradient_agrees_with_finite_differences() -> None:
    student, teacher = torch.randn(2, 3, SIZE, generator=generator(1), dtype=torch.float64)
    banks = [MemoryBank(LABELS, SIZE, 4, generator(side)).double() for side in range(2)]
    loss = CategoricalRelation("official")
    assert torch.autograd.gradcheck(lambda x: loss(x, teacher, *banks), student.requires_grad_())


def test_networks_that_agree_have_no_loss() -> None:
    bank = MemoryBank(LABELS, SIZE, 4, generator(0))
    points = torch.randn(5, SIZE, generator=generator(1))
    assert CategoricalRelation("official")(points, points, bank, bank).item() == pytest.approx(0, abs=1e-6)


def test_carried_centroids_follow_the_bank() -> None:
    bank = MemoryBank(LABELS, SIZE, 4, generator(0))
    points, other = torch.randn(2, 5, SIZE, generator=generator(1))
    loss = CategoricalRelation("official", row_labels=LABELS)
    before = loss(points, other, bank, bank)
    bank.update(torch.arange(5), other)
    after = loss(points, other, bank, bank)
    assert not torch.isclose(before, after)
    torch.testing.assert_close(after, loss(points, other, bank.rows, bank.rows))


def test_the_official_form_reads_the_banks_after_their_update() -> None:
    points, other = torch.randn(2, 5, SIZE, generator=generator(1))
    rows = torch.tensor([0, 9, 14, 0, 16])  # one image twice
    loss = CategoricalRelation("official")
    banks = [MemoryBank(LABELS, SIZE, 4, generator(side)) for side in range(2)]
    before = loss(points, other, *banks)
    ahead = loss(points, other, *banks, rows)
    for bank, projections in zip(banks, (points, other), strict=True):
        bank.update(rows, projections)
    torch.testing.assert_close(ahead, loss(points, other, *banks))
    assert not torch.isclose(before, ahead)


def test_the_papers_form_reads_the_banks_as_they_are() -> None:
    points, other = torch.randn(2, 5, SIZE, generator=generator(1))
    banks = [MemoryBank(LABELS, SIZE, 4, generator(side)) for side in range(2)]
    loss = CategoricalRelation("paper", 0.07)
    assert torch.equal(loss(points, other, *banks), loss(points, other, *banks, torch.arange(5)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"variant": "code"}, "one of paper, official"), ({"temperature": 0.0}, "temperature")],
)
def test_bad_settings_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(PreceptorError, match=message):
        CategoricalRelation(**arguments)  # type: ignore[arg-type]


def test_a_plain_bank_needs_labels_of_every_class() -> None:
    rows, points = torch.randn(3, SIZE), torch.randn(2, SIZE)
    with pytest.raises(PreceptorError, match="row_labels"):
        CategoricalRelation()(points, points, rows, rows)
    with pytest.raises(PreceptorError, match="without rows"):
        CategoricalRelation(row_labels=torch.tensor([0, 2, 2]))(points, points, rows, rows)
