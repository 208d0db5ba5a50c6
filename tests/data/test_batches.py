"""Batches: every image once per epoch, in an order of its own, delivered with the right label."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preceptor.data.batches import LEAST, Loader, epoch_batches, in_order, resampled, shard
from preceptor.data.cache import Pixels


@pytest.fixture
def pixels() -> Pixels:
    """Image i is i everywhere, its mask i % 2."""
    images = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 3, 4, 4)).copy()
    return Pixels(images, images[:, 0] % 2, "key")


LABELS = np.arange(40) % 7
PART = np.array([3, 5, 8, 13, 21, 34, 39, 0, 1, 2])
CHOSEN = [0, 4, 7, 8, 30, 38]
FIXED = [0, 3, 8, 4, 2, 5, 10, 1, 7, 11, 6, 9]


@given(rows=st.integers(1, 400), batch_size=st.integers(1, 64), world=st.integers(1, 6), epoch=st.integers(0, 3))
def test_an_epoch_holds_every_row_once(rows: int, batch_size: int, world: int, epoch: int) -> None:
    batches = epoch_batches(rows, batch_size, seed=0, epoch=epoch, world=world)
    assert sorted(np.concatenate(batches)) == list(range(rows))
    least = min(max(LEAST, 2 * world), batch_size)
    assert len(batches) == 1 or all(len(batch) >= least for batch in batches)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(batches[-1]) < batch_size + least


@given(rows=st.integers(1, 100), batch_size=st.integers(1, 40))
def test_evaluation_goes_in_order(rows: int, batch_size: int) -> None:
    batches = in_order(rows, batch_size)
    np.testing.assert_array_equal(np.concatenate(batches), np.arange(rows))
    assert max(map(len, batches)) <= batch_size


@given(count=st.integers(1, 70), world=st.integers(1, 8))
def test_shards_make_up_the_batch(count: int, world: int) -> None:
    batch = np.random.default_rng(count).permutation(count)
    shards = [shard(batch, rank, world) for rank in range(world)]
    np.testing.assert_array_equal(np.concatenate(shards), batch)
    sizes = [len(item) for item in shards]
    assert max(sizes) - min(sizes) <= 1


UNEQUAL = np.repeat([2, 0, 3], [7, 2, 30])  # class 1 does not occur


@pytest.mark.parametrize(("how", "each"), [("over", 30), ("under", 2), ("balanced", 13)])
@given(seed=st.integers(0, 50), epoch=st.integers(0, 5))
def test_resampled_classes_are_of_one_size(how: str, each: int, seed: int, epoch: int) -> None:
    rows = resampled(UNEQUAL, how, seed, epoch)
    assert rows.dtype == np.int64
    assert np.bincount(UNEQUAL[rows]).tolist() == [each, 0, each, each]
    times = np.bincount(rows, minlength=len(UNEQUAL))
    for own in np.split(times, [7, 9]):  # no image of a class is taken more than once more often than another
        assert np.ptp(own) <= 1


def test_resampling_is_drawn_anew_each_epoch_and_the_same_again() -> None:
    assert resampled(UNEQUAL, "none", 0, 0).tolist() == list(range(39))
    drawn = [resampled(UNEQUAL, "under", seed, epoch) for seed in range(2) for epoch in range(20)]
    assert len({tuple(rows) for rows in drawn}) > 20
    assert set(np.concatenate(drawn[:20])) > set(drawn[0])
    # Written down once: a resumed run on another machine or version must choose the same rows.
    assert resampled(UNEQUAL, "under", 0, 0).tolist() == CHOSEN


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        np.random.seed(epoch)  # the global stream must not matter
        return np.concatenate(epoch_batches(50, 16, seed, epoch)).tolist()

    assert order(0, 3) == order(0, 3)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    # Written down once: a resumed run on another machine or version must find the same order.
    assert epoch_batches(12, 12, 0, 0)[0].tolist() == FIXED


@pytest.mark.parametrize(("rows", "sizes"), [(71, [32, 39]), (72, [32, 32, 8]), (64, [32, 32]), (5, [5]), (33, [33])])
def test_a_small_remainder_joins_the_batch_before_it(rows: int, sizes: list[int]) -> None:
    assert [len(batch) for batch in epoch_batches(rows, 32, 0, 0)] == sizes


@pytest.mark.parametrize(("rows", "batch_size"), [(0, 8), (8, 0)])
def test_nothing_to_cut_is_an_error(rows: int, batch_size: int) -> None:
    with pytest.raises(ValueError, match="cannot make batches"):
        epoch_batches(rows, batch_size, 0, 0)


def test_a_batch_holds_the_images_labels_and_masks_of_its_rows(pixels: Pixels) -> None:
    loader = Loader(pixels, LABELS, PART)
    plan = [np.array([4, 0]), np.array([9, 9, 1])]
    batches = list(loader.batches(plan))
    assert len(loader) == len(PART)
    assert [len(batch) for batch in batches] == [2, 3]
    for batch, rows in zip(batches, plan, strict=True):
        assert batch.rows.tolist() == rows.tolist()
        assert batch.images.dtype == torch.uint8
        assert batch.images.shape == (len(rows), 3, 4, 4)
        assert batch.images[:, 0, 0, 0].tolist() == PART[rows].tolist()
        assert batch.labels.tolist() == LABELS[PART[rows]].tolist()
        assert batch.masks is not None
        assert batch.masks[:, 1, 1].tolist() == (PART[rows] % 2).tolist()


def test_batches_are_copies(pixels: Pixels) -> None:
    batch = next(Loader(pixels, LABELS, PART).batches([np.arange(3)]))
    batch.images.fill_(99)
    batch.rows.fill_(99)
    assert pixels.images.max() == 39


def test_one_batch_is_fetched_ahead_and_not_more(pixels: Pixels) -> None:
    asked = []

    def plan() -> Iterator[np.ndarray]:
        for rows in in_order(10, 2):
            asked.append(rows[0])
            yield rows

    batches = Loader(pixels, LABELS, PART).batches(plan())
    assert asked == []
    next(batches)
    assert asked == [0, 2]
    next(batches)
    assert asked == [0, 2, 4]
    batches.close()


def test_an_error_in_the_background_is_raised_with_its_batch(pixels: Pixels) -> None:
    batches = Loader(pixels, LABELS, PART).batches([np.arange(2), np.array([99])])
    assert len(next(batches)) == 2
    with pytest.raises(IndexError, match="99"):
        next(batches)


def test_stopping_early_leaves_no_thread_behind(pixels: Pixels) -> None:
    for _ in Loader(pixels, LABELS, PART).batches(in_order(10, 2)):
        break
    assert not [item.name for item in threading.enumerate() if item.name.startswith("batches")]


def test_labels_and_pixels_must_belong_together(pixels: Pixels) -> None:
    with pytest.raises(ValueError, match="40 images, but 39 labels"):
        Loader(pixels, LABELS[:-1], PART)
