"""Which images make a batch, and how they come from the cache to the device."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from preceptor.data.cache import Pixels
from preceptor.utils.randomness import seed_of

#: Batch normalisation cannot be trained on one image, and hardly on a few.
LEAST = 8
#: What an epoch makes of unequal classes; see :func:`resampled`.
Resampling = Literal["none", "over", "under", "balanced"]


@dataclass(frozen=True)
class Batch:
    """Some images of one part, on the device.

    Attributes:
        images: (B, 3, S, S) uint8.
        labels: (B,) int64 class indices, or (B, L) float32 labels.
        rows: (B,) int64 rows of the part (not of the catalog), as memory banks count them.
        masks: (B, S, S) uint8, or None.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)


def epoch_batches(rows: int, batch_size: int, seed: int, epoch: int, world: int = 1) -> list[np.ndarray]:
    """The rows 0 … ``rows`` - 1 in the order of one epoch, cut into batches; nothing is left out.

    A last batch of fewer than 8 images (or 2 for each of ``world`` processes) joins the one before it; where a whole
    batch is smaller than that, one that is not whole does.

    Returns:
        int64 arrays that hold each row exactly once; the same for the same arguments, on any machine.
    """
    order = np.random.default_rng(seed_of(seed, epoch, 0, "order")).permutation(rows).astype(np.int64)
    return _cut(order, batch_size, least=max(LEAST, 2 * world))


def resampled(labels: np.ndarray, how: Resampling, seed: int, epoch: int) -> np.ndarray:
    """The rows that one epoch takes from a training part with unequal classes (Niyaz 2024 trains on such a part).

    A class with too few images gives each of them as often as goes evenly, and a random choice of them once more; one
    with too many gives a random choice. The choice is drawn anew each epoch, so that "under" sees all images in time.

    Args:
        labels: (P,) class indices of the part.
        how: ``none`` (every row once), ``over`` (every class as large as the largest), ``under`` (as the smallest),
            ``balanced`` (as the mean, so that an epoch keeps its length to within rounding).

    Returns:
        int64 rows of the part, ascending; the same for the same arguments, on any machine; a class that does not occur
        stays away. An epoch's batches are ``[rows[batch] for batch in epoch_batches(len(rows), …)]``.
    """
    if how == "none":
        return np.arange(len(labels), dtype=np.int64)
    counts = np.bincount(labels)
    present = counts[counts > 0]
    wanted = {"over": present.max(), "under": present.min(), "balanced": round(float(present.mean()))}[how]
    random = np.random.default_rng(seed_of(seed, epoch, 0, "resampling"))
    chosen = []
    for label in np.flatnonzero(counts):
        rows = np.flatnonzero(labels == label)
        chosen += [rows] * (wanted // len(rows))
        chosen.append(random.permutation(rows)[: wanted % len(rows)])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def in_order(rows: int, batch_size: int) -> list[np.ndarray]:
    """The rows 0 … ``rows`` - 1 in their order, for evaluation; the last batch may be small."""
    return _cut(np.arange(rows, dtype=np.int64), batch_size, least=1)


def shard(batch: np.ndarray, rank: int, world: int) -> np.ndarray:
    """The share of process ``rank``: a contiguous stretch of the batch; shares differ by one image at most."""
    return np.array_split(batch, world)[rank]


class Loader:
    """Batches of one part, each fetched in the background while the one before it is used.

    Args:
        pixels: the cache of the whole catalog.
        labels: (N,) class indices of the whole catalog, or (N, L) labels, 1, 0 or NaN where not known.
        part: (P,) the part's rows in the catalog.
        device: where the batches are wanted.

    Iterating consumes no randomness; what goes wrong in the background is raised where the batch is asked for.
    """

    def __init__(
        self, pixels: Pixels, labels: np.ndarray, part: np.ndarray, device: torch.device | str = "cpu"
    ) -> None:
        if len(labels) != len(pixels):
            raise ValueError(f"{len(pixels)} images, but {len(labels)} labels")
        self.pixels, self.device = pixels, torch.device(device)
        self.part = np.asarray(part, dtype=np.int64)
        kind = np.int64 if labels.ndim == 1 else np.float32
        self.labels = np.asarray(labels, dtype=kind)[self.part]

    def __len__(self) -> int:
        """Images of the part."""
        return len(self.part)

    def batches(self, plan: Iterable[np.ndarray]) -> Generator[Batch, None, None]:
        """One batch for each array of rows of the part, in the order of ``plan``."""
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as background:
            ahead = None
            for rows in plan:
                coming = background.submit(self._fetch, rows)
                if ahead is not None:
                    yield self._to_device(ahead.result())
                ahead = coming
            if ahead is not None:
                yield self._to_device(ahead.result())

    def _fetch(self, rows: np.ndarray) -> Batch:
        """Copies from the mapped file (which may wait for the disk) into memory that the device can read from."""
        images, masks = self.pixels.fetch(self.part[rows])
        return Batch(
            images=self._host(images),
            labels=self._host(self.labels[rows]),
            rows=self._host(np.array(rows, dtype=np.int64)),
            masks=None if masks is None else self._host(masks),
        )

    def _host(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.asarray(array))
        return tensor.pin_memory() if self.device.type == "cuda" else tensor

    def _to_device(self, batch: Batch) -> Batch:
        return Batch(
            images=batch.images.to(self.device, non_blocking=True),
            labels=batch.labels.to(self.device, non_blocking=True),
            rows=batch.rows.to(self.device, non_blocking=True),
            masks=None if batch.masks is None else batch.masks.to(self.device, non_blocking=True),
        )


def _cut(order: np.ndarray, batch_size: int, least: int) -> list[np.ndarray]:
    """Batches of ``batch_size``, and a last one of at least ``least``, or of ``batch_size`` where that is smaller.

    What is left for fewer joins the batch before it, if there is one.
    """
    if len(order) == 0 or batch_size < 1:
        raise ValueError(f"cannot make batches of {batch_size} from {len(order)} images")
    starts = list(range(0, len(order), batch_size))
    if len(starts) > 1 and len(order) - starts[-1] < min(least, batch_size):
        starts.pop()
    return np.split(order, starts[1:])
