"""Memory banks: a moving average of the projections of every training image, and the centroids of their classes."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.utils.errors import PreceptorError, some_of

_BLOCK = 1 << 16  # rows widened to float64 at a time


class MemoryBank(nn.Module):
    """One unit row for each training image, a moving average of the network's projections of it (Wu et al. 2018;
    Xing et al. 2021).

    A row begins as U(-b, b) in each entry, b = 1/√(d/3), which makes its squared length one on average. The sums of the
    rows of each class are carried along, so that centroids cost O(C·d) to read and O(B·d) to keep, whatever N is.
    They are float64: the rounding of a hundred thousand updates stays below that of one float32 row.

    Args:
        row_labels: (N,) class of each row, whole numbers in [0, classes).
        size: d, the length of a projection.
        classes: C.
        generator: draws the initial rows; a CPU generator gives the same rows on every device.
        momentum: share of the old row that an update keeps.

    Buffers (all in the state): ``rows`` (N, d) float32, ``row_labels`` (N,), ``class_counts`` (C,), ``class_sums`` and
    ``rectified_sums`` (C, d) float64, the latter over max(row, 0).

    Raises:
        PreceptorError: no rows, a label out of range, or a momentum outside [0, 1).
    """

    rows: Tensor
    row_labels: Tensor
    class_counts: Tensor
    class_sums: Tensor
    rectified_sums: Tensor

    def __init__(
        self, row_labels: Tensor, size: int, classes: int, generator: torch.Generator, momentum: float = 0.5
    ) -> None:
        super().__init__()
        if row_labels.ndim != 1 or not len(row_labels):
            raise PreceptorError(f"memory bank: row_labels of shape {tuple(row_labels.shape)}", expected="(N,), N ≥ 1")
        lowest, highest = int(row_labels.min()), int(row_labels.max())
        if lowest < 0 or highest >= classes:
            raise PreceptorError(f"memory bank: labels from {lowest} to {highest}", expected=f"0 to {classes - 1}")
        if not 0 <= momentum < 1:
            raise PreceptorError(f"memory bank: momentum {momentum}", expected="a number in [0, 1)")
        self.momentum = momentum
        bound = 1 / sqrt(size / 3)
        rows = torch.empty(len(row_labels), size).uniform_(-bound, bound, generator=generator)
        labels = row_labels.detach().clone().long().cpu()
        self.register_buffer("rows", rows)
        self.register_buffer("row_labels", labels)
        self.register_buffer("class_counts", torch.bincount(labels, minlength=classes))
        self.register_buffer("class_sums", class_sums(rows, labels, classes))
        self.register_buffer("rectified_sums", class_sums(rows, labels, classes, rectified=True))
        self._empty = [index for index, count in enumerate(self.class_counts.tolist()) if count == 0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move rows and sums to a device; ``.half()``, ``.bfloat16()`` and their kind leave them exact."""
        exact = {name: getattr(self, name) for name in ("rows", "class_sums", "rectified_sums")}
        super()._apply(fn, recurse)
        for name, before in exact.items():
            after = getattr(self, name)
            if after.element_size() < before.element_size():
                setattr(self, name, before.to(after.device))
        return self

    @torch.no_grad()
    def update(self, index: Tensor, projections: Tensor) -> None:
        """rows[i] ← normalise(momentum·rows[i] + (1 - momentum)·g), once the optimiser has stepped.

        Args:
            index: (B,) rows; one that is named several times (views of one image) takes the mean of its projections.
            projections: (B, d), of any floating type.
        """
        new, counted = self._moved(index, projections)
        for sums, rectified in ((self.class_sums, False), (self.rectified_sums, True)):
            sums.index_add_(0, self.row_labels[index], self._difference(index, new, counted, rectified))
        self.rows[index] = new

    def centroids(self, rectified: bool = False, after: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return (C, d) float64: the mean row of each class, or the mean of max(row, 0).

        Args:
            rectified: which of the two.
            after: (index, projections) of an update that is yet to come: the centroids as it will leave them.

        Raises:
            PreceptorError: a class has no rows.
        """
        if self._empty:
            raise PreceptorError(
                f"memory bank: no centroid for classes without training images: {some_of(self._empty)}",
                remedy="leave these classes out of the data, or use fewer folds",
            )
        sums = self.rectified_sums if rectified else self.class_sums
        if after is not None:
            index, projections = after
            moved = self._difference(index, *self._moved(index, projections.detach()), rectified)
            sums = sums.index_add(0, self.row_labels[index], moved)
        return sums / self.class_counts[:, None]

    def _moved(self, index: Tensor, projections: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows that an update writes, (B, d), and which of them count for a row named several times."""
        same = index[:, None] == index
        share = same.to(self.rows.dtype) / same.sum(1, keepdim=True)
        projections = share @ projections.to(self.rows.dtype)
        new = functional.normalize(torch.lerp(projections, self.rows[index], self.momentum), dim=1)
        # the first occurrence stands for all, so that all write the same bits, and it alone moves the sums
        first = same.byte().argmax(1)
        return new[first], first == torch.arange(len(index), device=index.device)

    def _difference(self, index: Tensor, new: Tensor, counted: Tensor, rectified: bool) -> Tensor:
        old, dtype = self.rows[index], self.class_sums.dtype
        if rectified:
            new, old = new.relu(), old.relu()
        return (new.to(dtype) - old.to(dtype)) * counted[:, None]

    def extra_repr(self) -> str:
        count, size = self.rows.shape
        return f"rows={count}, size={size}, classes={len(self.class_counts)}, momentum={self.momentum}"


def class_sums(rows: Tensor, row_labels: Tensor, classes: int, rectified: bool = False) -> Tensor:
    """(C, d) float64: the sum of the rows (or of their positive parts) of each class, in O(N·d)."""
    sums = torch.zeros(classes, rows.shape[1], dtype=torch.float64, device=rows.device)
    for block, labels in zip(rows.split(_BLOCK), row_labels.split(_BLOCK), strict=True):
        sums.index_add_(0, labels, (block.relu() if rectified else block).double())
    return sums
