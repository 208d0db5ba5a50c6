from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.losses import bank_scores
from preceptor.utils.randomness import generator


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 7),
    rows=st.integers(1, 200),
    count=st.integers(1, 30),
    size=st.integers(1, 9),
    cached=st.sampled_from([1, 100, 1000, 1 << 19]),
)
def test_both_ways_are_the_same_sums(seed: int, batch: int, rows: int, count: int, size: int, cached: int) -> None:
    draw = generator(seed)
    bank = torch.randn(rows, size, generator=draw, dtype=torch.float64)
    queries = torch.randn(batch, size, generator=draw, dtype=torch.float64)
    weights = torch.randn(batch, count, generator=draw, dtype=torch.float64)
    index = torch.randint(rows, (batch, count), generator=draw)  # with repetitions
    rows_asked = bank[index]
    products = torch.einsum("bd,bkd->bk", queries, rows_asked)
    sums = torch.einsum("bk,bkd->bd", weights, rows_asked)
    for dense_until in (0, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bank_scores, "DENSE_UNTIL", dense_until)
            patch.setattr(bank_scores, "_CACHED", cached)
            assert bank_scores.is_dense(bank, index) == (dense_until > 0)
            torch.testing.assert_close(bank_scores.scores(queries, bank, index), products, rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(bank_scores.weighted_rows(weights, bank, index), sums, rtol=1e-10, atol=1e-10)


def test_size_decides_which_way() -> None:
    index = torch.zeros(2, 100, dtype=torch.long)
    assert bank_scores.is_dense(torch.empty(2400, 1), index)
    assert not bank_scores.is_dense(torch.empty(2401, 1), index)
