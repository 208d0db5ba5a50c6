from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from preceptor.losses import sampling
from preceptor.losses.sampling import ClassSampler, draw_ranks, smallest
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator

LABELS = torch.tensor([0] * 400 + [1] * 60 + [2] * 5 + [3])[torch.randperm(466, generator=generator(7))]


def distinct(row: Tensor) -> int:
    return len(set(row.tolist()))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    number=st.integers(0, 40),
    pools=st.lists(st.integers(1, 1000), min_size=1, max_size=6),
)
def test_ranks_are_below_the_pool_and_distinct_where_it_suffices(seed: int, number: int, pools: list[int]) -> None:
    ranks = draw_ranks(torch.tensor(pools), set(pools), number, generator(seed))
    assert ranks.shape == (len(pools), number)
    for row, pool in zip(ranks, pools, strict=True):
        assert all(0 <= rank < pool for rank in row.tolist())
        if pool >= number:
            assert distinct(row) == number


@pytest.mark.parametrize(
    ("pool", "number"), [(12, 3), (12, 12), (12, 11), (40, 4), (33, 4), (9, 1), (7, 20)], ids=lambda value: str(value)
)
def test_every_rank_is_equally_likely(pool: int, number: int) -> None:
    trials = 20_000
    ranks = draw_ranks(torch.full((trials,), pool), {pool, 3, 100}, number, generator(pool, number))
    expected = trials * number / pool
    received = torch.bincount(ranks.flatten(), minlength=pool)
    deviation = (expected * max(1 - number / pool, 0) if number <= pool else expected) ** 0.5
    assert (received - expected).abs().max() <= 4.5 * deviation + 1e-9


def test_pairs_of_ranks_are_equally_likely_from_a_stream() -> None:
    trials, pool = 60_000, 17
    assert pool > sampling._DENSE_UNTIL * 2
    ranks = draw_ranks(torch.full((trials,), pool), {pool}, 2, generator(3)).sort(1).values
    received = torch.bincount(ranks[:, 0] * pool + ranks[:, 1], minlength=pool * pool)
    received = received[received > 0]
    expected = trials / (pool * (pool - 1) / 2)
    assert len(received) == pool * (pool - 1) // 2
    assert (received - expected).abs().max() <= 4.5 * expected**0.5


def test_rows_of_a_batch_are_drawn_independently() -> None:
    ranks = draw_ranks(torch.full((50,), 1000), {1000}, 10, generator(4))
    assert len({tuple(row.sort().values.tolist()) for row in ranks}) == 50


def test_a_pool_of_millions_needs_no_memory_of_that_size() -> None:
    pool = torch.tensor([10**9, 10**9 - 7])
    ranks = draw_ranks(pool, {10**9, 10**9 - 7}, 4096, generator(5))
    assert [distinct(row) for row in ranks] == [4096, 4096]
    assert ranks.max() > 9e8


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), number=st.integers(1, 70))
def test_positives_are_of_the_class_with_itself_first(seed: int, number: int) -> None:
    rows = torch.randperm(len(LABELS), generator=generator(seed))[:60]
    drawn = ClassSampler(LABELS).positives(rows, number, generator(seed, "positives"))
    assert drawn.shape == (60, number)
    assert torch.equal(drawn[:, 0], rows)
    assert torch.equal(LABELS[drawn], LABELS[rows][:, None].expand(-1, number))
    for row, members in zip(drawn, torch.bincount(LABELS)[LABELS[rows]].tolist(), strict=True):
        if members >= number:
            assert distinct(row) == number
        elif members > 1:  # the image itself is not drawn again while there are others
            assert (row == row[0]).sum() == 1


def test_small_classes_give_all_they_have() -> None:
    (rare,) = (LABELS == 2).nonzero(as_tuple=True)
    drawn = ClassSampler(LABELS).positives(rare, 5, generator(0))
    assert all(set(row.tolist()) == set(rare.tolist()) for row in drawn)
    (alone,) = (LABELS == 3).nonzero(as_tuple=True)
    assert ClassSampler(LABELS).positives(alone, 20, generator(0)).tolist() == [[alone.item()] * 20]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    number=st.sampled_from([1, 5, 66, 67, 100, 406, 470]),
    labels=st.sampled_from([LABELS, LABELS.sort().values]),
)
def test_negatives_are_of_other_classes(seed: int, number: int, labels: Tensor) -> None:
    rows = torch.randperm(len(labels), generator=generator(seed))[:30]
    drawn = ClassSampler(labels).negatives(rows, number, generator(seed, "negatives"))
    assert bool((labels[drawn] != labels[rows][:, None]).all())
    pools = len(labels) - torch.bincount(labels)[labels[rows]]
    for row, pool in zip(drawn, pools.tolist(), strict=True):
        if pool >= number:
            assert distinct(row) == number


def test_labels_may_skip_classes() -> None:
    sampler = ClassSampler(torch.tensor([5, 2, 5, 2, 2]))
    assert set(sampler.negatives(torch.tensor([0]), 3, generator(0))[0].tolist()) == {1, 3, 4}
    assert set(sampler.positives(torch.tensor([1]), 3, generator(0))[0].tolist()) == {1, 3, 4}


def test_one_class_has_no_negatives() -> None:
    with pytest.raises(PreceptorError, match="one class"):
        ClassSampler(torch.zeros(9, dtype=torch.long))


class OfAnotherDevice(Tensor):
    """A tensor that numpy does not take, as one on a GPU."""


@pytest.mark.parametrize("number", [1, 40, 99, 100])
def test_the_same_keys_are_the_smallest_everywhere(number: int) -> None:
    keys = torch.rand(7, 100, generator=generator("keys"))
    expected = keys.argsort(dim=1)[:, :number].sort().values.tolist()
    for of in (keys, keys.as_subclass(OfAnotherDevice)):
        assert smallest(of, number).sort().values.tolist() == expected
