"""Positives and negatives for contrastive losses, drawn on the device in a time that does not depend on N."""

from __future__ import annotations

from collections.abc import Collection
from math import ceil, log, log1p, sqrt

import numpy as np
import torch
from torch import Tensor, nn

from preceptor.utils.errors import PreceptorError

_DENSE_UNTIL = 8  # ranks for each one drawn, up to which random keys and a top-k beat draws and a sort


class ClassSampler(nn.Module):
    """Draws rows of an image's own class and of all others, without reading values back to the host.

    The rows are put in the order of their classes once. A class is then a stretch of that order, and "all others" the
    order without it, so that a rank below the size of the pool is turned into a row by one addition and one look-up.

    Args:
        row_labels: (N,) class of each row.

    Raises:
        PreceptorError: all rows are of one class, so that there are no negatives.
    """

    order: Tensor
    place: Tensor
    start: Tensor
    count: Tensor

    def __init__(self, row_labels: Tensor) -> None:
        super().__init__()
        labels = torch.as_tensor(row_labels).detach().long().cpu()
        order = labels.argsort(stable=True)
        counts = torch.bincount(labels)
        if len(labels) in counts.tolist() or not len(labels):
            raise PreceptorError(
                f"no negatives can be drawn: the {len(labels)} training images are of one class",
                expected="at least two classes with training images",
            )
        ends = counts.cumsum(0)
        buffers = {
            "order": order,  # (N,) rows, class after class
            "place": torch.empty_like(order).scatter_(0, order, torch.arange(len(order))),  # (N,) its inverse
            "start": (ends - counts)[labels],  # (N,) where the class of each row begins in the order
            "count": counts[labels],  # (N,) how many rows that class has
        }
        for name, buffer in buffers.items():  # all follow from the labels, so that no checkpoint needs them
            self.register_buffer(name, buffer, persistent=False)
        self._sizes = {int(size) for size in counts if size}
        self._in_order = bool((labels[1:] >= labels[:-1]).all())  # then a place is a row

    def positives(self, rows: Tensor, number: int, generator: torch.Generator) -> Tensor:
        """(B, number) rows of the class of each of ``rows`` (B,), itself first.

        The others are distinct where the class has ``number`` images, and drawn with replacement where it has fewer;
        an image that is alone in its class stands for all of them.
        """
        count, own = self.count[rows, None], (self.place[rows] - self.start[rows])[:, None]
        others = {max(size - 1, 1) for size in self._sizes}
        rank = draw_ranks((count[:, 0] - 1).clamp(min=1), others, number - 1, generator)
        rank = (rank + (rank >= own)).minimum(count - 1)  # skips itself
        return self.order[self.start[rows, None] + torch.cat([own, rank], dim=1)]

    def negatives(self, rows: Tensor, number: int, generator: torch.Generator) -> Tensor:
        """(B, number) rows of other classes than that of each of ``rows`` (B,): distinct where there are so many."""
        total = len(self.order)
        start, count = self.start[rows, None], self.count[rows, None]
        rank = draw_ranks(total - count[:, 0], {total - size for size in self._sizes}, number, generator)
        place = rank + torch.where(rank >= start, count, 0)
        return place if self._in_order else self.order[place]


def draw_ranks(pool: Tensor, sizes: Collection[int], number: int, generator: torch.Generator) -> Tensor:
    """``number`` whole numbers in [0, pool[b]) for each b: uniform without replacement where the pool has so many,
    with replacement where it has not.

    Args:
        pool: (B,) sizes, at least 1.
        sizes: every value that ``pool`` may take, known to the host, so that ``pool`` is not read.
        number: k.
        generator: on the device of ``pool``.

    Returns:
        (B, k), in no particular order.
    """
    dense = [size for size in sizes if number <= size <= _DENSE_UNTIL * number]
    sparse = [size for size in sizes if size > _DENSE_UNTIL * number]
    ranks = None
    if number and dense:
        ranks = _smallest_keys(pool, dense, number, generator)
    if number and sparse:
        first = _first_distinct(pool, min(sparse), number, generator)
        ranks = first if ranks is None else torch.where((pool > _DENSE_UNTIL * number)[:, None], first, ranks)
    if ranks is None or min(sizes) < number:
        again = _uniform(pool, number, generator)
        ranks = again if ranks is None else torch.where((pool < number)[:, None], again, ranks)
    return ranks


def _uniform(pool: Tensor, number: int, generator: torch.Generator) -> Tensor:
    # float64, since the 24 bits of a float32 would favour some of a million ranks by six per cent
    draws = torch.rand(len(pool), number, dtype=torch.float64, device=pool.device, generator=generator)
    return draws.mul_(pool[:, None]).long().minimum(pool[:, None] - 1)


def _smallest_keys(pool: Tensor, dense: list[int], number: int, generator: torch.Generator) -> Tensor:
    """A random key for each rank; the ranks with the smallest keys. Right where ``pool`` is one of ``dense``."""
    narrowest, widest = min(dense), max(dense)
    keys = torch.rand(len(pool), widest, device=pool.device, generator=generator)
    if narrowest < widest:
        tail = torch.arange(narrowest, widest, device=pool.device)
        keys[:, narrowest:].masked_fill_(tail >= pool[:, None], 2)
    return smallest(keys, number)


def smallest(keys: Tensor, number: int) -> Tensor:
    """Return the places of the ``number`` smallest of each row of (B, N) keys, (B, number), in no particular order."""
    if keys.device.type != "cpu" or type(keys) is not Tensor:  # numpy knows neither GPUs nor subclasses
        return keys.topk(number, dim=1, largest=False, sorted=False).indices
    # its selection is vectorised: five times as fast as topk with AVX-512
    return torch.from_numpy(np.argpartition(keys.numpy(), number - 1, axis=1)[:, :number])


def _first_distinct(pool: Tensor, smallest: int, number: int, generator: torch.Generator) -> Tensor:
    """The first distinct values of a stream of independent draws, which are a sample without replacement.

    Right where pool ≥ smallest: the stream is so long that it holds too few distinct values less often than once in
    10²⁰ times (it would then yield one value twice).
    """
    draws = _uniform(pool, _stream_length(smallest, number), generator)
    ordered, origin = draws.sort(dim=1, stable=True)
    repeated = torch.zeros_like(draws, dtype=torch.bool)
    repeated.scatter_(1, origin[:, 1:], ordered[:, 1:] == ordered[:, :-1])
    slot = (~repeated).cumsum(1) - 1
    slot = slot.masked_fill_(repeated, number).clamp_(max=number)  # the last slot takes what is not wanted
    return draws[:, : number + 1].scatter(1, slot, draws)[:, :number]


def _stream_length(pool: int, number: int) -> int:
    """Draws after which ``number`` distinct values are expected, and ten standard deviations more."""
    mean = log1p(-number / pool) / log(1 - 1 / pool)
    return ceil(mean + 10 * sqrt(mean - number + 1)) + 10
