from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from preceptor.networks.memory_bank import MemoryBank, class_sums
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator

LABELS = torch.tensor([0] * 50 + [1] * 20 + [2] * 4 + [3])


def bank(size: int = 16, **settings: float) -> MemoryBank:
    return MemoryBank(LABELS, size, 4, generator(0, "bank"), **settings)


def batches(count: int, size: int = 16) -> list[tuple[Tensor, Tensor]]:
    """Batches of 1 to 9 rows, drawn with replacement so that rows repeat within a batch."""
    draw = generator(1, "batches")
    return [
        (
            torch.randint(len(LABELS), (1 + step % 9,), generator=draw),
            functional.normalize(torch.randn(1 + step % 9, size, generator=draw), dim=1),
        )
        for step in range(count)
    ]


def recomputed(rows: Tensor, rectified: bool) -> Tensor:
    rows = (rows.relu() if rectified else rows).double()
    return torch.stack([rows[label == LABELS].mean(0) for label in range(4)])


@pytest.mark.parametrize("rectified", [False, True])
def test_centroids_stay_those_of_the_rows_over_thousands_of_updates(rectified: bool) -> None:
    kept = bank()
    for index, projections in batches(5000):
        kept.update(index, projections)
    torch.testing.assert_close(kept.centroids(rectified), recomputed(kept.rows, rectified), rtol=0, atol=1e-10)


def test_an_update_moves_named_rows_half_way_and_leaves_the_others() -> None:
    kept = bank()
    before = kept.rows.clone()
    index, projections = torch.tensor([3, 60]), functional.normalize(torch.randn(2, 16, generator=generator(2)), dim=1)
    kept.update(index, projections)
    for row, projection in zip(index.tolist(), projections, strict=True):
        half = 0.5 * before[row].double() + 0.5 * projection.double()
        torch.testing.assert_close(kept.rows[row].double(), half / half.square().sum().sqrt(), rtol=0, atol=1e-6)
    others = torch.ones(len(LABELS), dtype=torch.bool)
    others[index] = False
    assert torch.equal(kept.rows[others], before[others])


def test_without_momentum_a_row_is_the_projection() -> None:
    kept = bank(momentum=0.0)
    (projection,) = functional.normalize(torch.randn(1, 16, generator=generator(3)), dim=1)
    kept.update(torch.tensor([7]), 5 * projection[None])
    torch.testing.assert_close(kept.rows[7], projection)


def test_a_row_named_twice_takes_the_mean_and_counts_once() -> None:
    twice, once = bank(), bank()
    views = torch.randn(3, 16, generator=generator(4))
    twice.update(torch.tensor([5, 51, 5]), views)
    once.update(torch.tensor([5, 51]), torch.stack([(views[0] + views[2]) / 2, views[1]]))
    for name, value in twice.state_dict().items():
        torch.testing.assert_close(value, once.state_dict()[name])


def test_order_within_a_batch_is_irrelevant() -> None:
    straight, backward = bank(), bank()
    for index, projections in batches(30):
        straight.update(index, projections)
        backward.update(index.flip(0), projections.flip(0))
    torch.testing.assert_close(straight.rows, backward.rows, rtol=0, atol=1e-5)
    torch.testing.assert_close(straight.class_sums, backward.class_sums, rtol=0, atol=1e-4)


def test_goes_on_from_a_checkpoint_to_the_last_bit() -> None:
    never_stopped = bank()
    for index, projections in batches(20):
        never_stopped.update(index, projections)
    resumed = MemoryBank(LABELS, 16, 4, generator(99))
    resumed.load_state_dict(copy.deepcopy(never_stopped.state_dict()))
    for index, projections in batches(40)[20:]:
        never_stopped.update(index, projections)
        resumed.update(index, projections)
    for name, value in never_stopped.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_initial_rows_come_from_the_generator_alone_and_have_unit_length_on_average() -> None:
    torch.manual_seed(1)
    first = MemoryBank(torch.zeros(2000, dtype=torch.long), 128, 1, generator(0))
    torch.manual_seed(2)
    again = MemoryBank(torch.zeros(2000, dtype=torch.long), 128, 1, generator(0))
    assert torch.equal(first.rows, again.rows)
    assert first.rows.abs().max() <= (128 / 3) ** -0.5
    assert first.rows.square().sum(1).mean().item() == pytest.approx(1, rel=0.01)


def test_half_precision_projections_are_taken() -> None:
    kept = bank()
    kept.update(torch.tensor([0]), torch.ones(1, 16, dtype=torch.bfloat16))
    assert kept.rows.dtype == torch.float32


def test_sums_over_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(len(LABELS), 3, generator=generator(5))
    whole = class_sums(rows, LABELS, 4)
    monkeypatch.setattr("preceptor.networks.memory_bank._BLOCK", 7)
    torch.testing.assert_close(class_sums(rows, LABELS, 4), whole)


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (torch.zeros(0, dtype=torch.long), {}, "row_labels of shape"),
        (torch.tensor([0, 4]), {}, "labels from 0 to 4"),
        (torch.tensor([-1, 2]), {}, "labels from -1"),
        (torch.tensor([0, 1]), {"momentum": 1.0}, "momentum"),
    ],
)
def test_bad_arguments_are_named(labels: Tensor, settings: dict[str, float], message: str) -> None:
    with pytest.raises(PreceptorError, match=message):
        MemoryBank(labels, 8, 4, generator(0), **settings)


def test_a_class_without_rows_has_no_centroid() -> None:
    kept = MemoryBank(torch.tensor([0, 2]), 8, 4, generator(0))
    with pytest.raises(PreceptorError, match="images: 1, 3"):
        kept.centroids()


@pytest.mark.parametrize("cast", ["bfloat16", "half", "float"])
def test_a_network_in_another_precision_leaves_its_bank_exact(cast: str) -> None:
    """``model.bfloat16()`` reaches the bank: sums of 8 bits would drift from the rows."""
    plain, moved = bank(), getattr(bank(), cast)()
    for index, projections in batches(50):
        plain.update(index, projections)
        moved.update(index, projections)
    assert {name: value.dtype for name, value in moved.state_dict().items()} == {
        name: value.dtype for name, value in plain.state_dict().items()
    }
    assert torch.equal(moved.centroids(), plain.centroids())
