"""Outputs of a frozen network, computed once for each view of each image, where views come from a fixed set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from preceptor.data.geometric import orientation_codes, orientations, reorient, to_device
from preceptor.networks.output import NetworkOutput
from preceptor.utils.errors import PreceptorError

ORIENTATIONS = 8
_FIELDS = ("logits", "feature_map", "embedding", "projection")


class TeacherCache:
    """What a frozen network gives of every image in each orientation, in memory, bit for bit what it gives anew.

    Whole batches alone are computed for it and served from it: convolutions of another number of images may differ in
    the last bit. A batch with views that are not known yet runs once, filled up with other orientations of its images
    that are not known either, so that no image is computed twice.

    Args:
        name: of the network, for messages.
        rows: images of the training part.
        gibibytes: of memory that it may take on the device.
        fields: of :class:`NetworkOutput` that objectives read; ``features`` for named points. No others are kept.
        images: views in a whole batch.
        reachable: orientations that its views may have, from 0 to 7.
    """

    def __init__(
        self, name: str, rows: int, gibibytes: float, fields: Iterable[str], images: int, reachable: Iterable[int]
    ) -> None:
        self.name, self.rows, self.gibibytes, self.images = name, rows, gibibytes, images
        self.fields, self.reachable = frozenset(fields), sorted(reachable)
        self.computed = 0  # passes of the network
        self._known = np.zeros((rows, ORIENTATIONS), dtype=bool)
        self._slot = np.full(ORIENTATIONS, -1)
        self._slot[self.reachable] = np.arange(len(self.reachable))
        self._tables: dict[str, Tensor] = {}

    def __call__(
        self, run: Callable[[Tensor], NetworkOutput], views: Tensor, rows: np.ndarray, codes: np.ndarray
    ) -> NetworkOutput:
        """Return the outputs of a batch.

        Args:
            run: the network.
            views: (V·n, 3, S, S), the upright views of all images first.
            rows: (n,) rows of the training part.
            codes: (V·n,) the orientation of each view.

        Raises:
            PreceptorError: the outputs of all images need more memory than the cache may take, or the machine gives an
                image other bits at another place of the batch, so that none could be kept.
        """
        if len(views) != self.images:
            self.computed += 1
            return run(views)
        rows = np.tile(rows, len(views) // len(rows))
        if not self._known[rows, codes].all():
            chosen, targets = self._batch_of_unknown(rows, codes)
            turned = _turned(views[to_device(chosen, views.device)], codes[chosen], targets)
            self._store(run, turned, rows[chosen], targets)
        where = to_device(self._index(rows, codes), views.device)
        return self._output({key: table[where] for key, table in self._tables.items()})

    def _batch_of_unknown(self, rows: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return places in the batch, and the orientations to compute: those needed, then others of its images."""
        wanted: dict[tuple[int, int], int] = {}
        for code_of in (codes, *(np.full(len(rows), code) for code in self.reachable)):
            for place in np.flatnonzero(~self._known[rows, code_of]):
                wanted.setdefault((int(rows[place]), int(code_of[place])), int(place))
        pairs = list(wanted.items())[: self.images]
        chosen = np.array([place for _, place in pairs])
        targets = np.array([code for (_, code), _ in pairs])
        missing = self.images - len(pairs)  # images without anything unknown fill the batch
        return np.concatenate([chosen, np.arange(missing)]), np.concatenate([targets, codes[:missing]])

    def _store(
        self, run: Callable[[Tensor], NetworkOutput], views: Tensor, rows: np.ndarray, codes: np.ndarray
    ) -> None:
        values = self._values(run(views))
        self.computed += 1
        if not self._tables:
            self._allocate(values)
            self._check_places(run, views, values)
        where = to_device(self._index(rows, codes), views.device)
        for key, value in values.items():
            self._tables[key].index_copy_(0, where, value)
        self._known[rows, codes] = True

    def _values(self, output: NetworkOutput) -> dict[str, Tensor]:
        values = {key: getattr(output, key) for key in _FIELDS if key in self.fields}
        points = output.features if "features" in self.fields else {}
        return values | {f"features.{point}": value for point, value in points.items()}

    def _output(self, values: dict[str, Tensor]) -> NetworkOutput:
        nothing = next(iter(values.values())).new_empty(self.images, 0)
        empty = NetworkOutput(nothing, nothing, nothing)
        features = {key.removeprefix("features."): values[key] for key in values if key.startswith("features.")}
        kept: dict[str, Any] = {key: values[key] for key in _FIELDS if key in values}
        return replace(empty, **kept, features=features)

    def _allocate(self, values: dict[str, Tensor]) -> None:
        entries = self.rows * len(self.reachable)
        need = sum(value[0].nbytes for value in values.values()) * entries / 2**30
        if need > self.gibibytes:
            raise PreceptorError(
                f"teacher_cache: {self.name} needs {need:.2f} GiB for {entries} views of {self.rows} images "
                f"({', '.join(sorted(values))})",
                expected=f"at most {self.gibibytes:g} GiB, as the recipe says",
                remedy=f"set teacher_cache={need * 1.01:.2f}, or leave it out",
            )
        self._tables = {key: value.new_empty(entries, *value.shape[1:]) for key, value in values.items()}

    def _check_places(self, run: Callable[[Tensor], NetworkOutput], views: Tensor, values: dict[str, Tensor]) -> None:
        again = self._values(run(views.roll(1, 0)))
        if not all(torch.equal(again[key], value.roll(1, 0)) for key, value in values.items()):
            raise PreceptorError(
                f"teacher_cache: on this machine {self.name} gives an image other last bits at another place of a "
                "batch, so that kept outputs would not be those of the run without a cache",
                remedy="leave teacher_cache out",
            )

    def _index(self, rows: np.ndarray, codes: np.ndarray) -> np.ndarray:
        index: np.ndarray = rows * len(self.reachable) + self._slot[codes]
        return index


def _turned(views: Tensor, codes: np.ndarray, targets: np.ndarray) -> Tensor:
    """Views in one orientation, brought to another by moving pixels."""
    if (codes == targets).all():
        return views
    return reorient(views, _MATRICES[codes].swapaxes(1, 2) @ _MATRICES[targets], np.ones(len(codes), dtype=bool))


def _matrices() -> np.ndarray:
    """One matrix for each orientation, from view to image, (8, 2, 2)."""
    flips = np.array([False, True] * 4)
    turns = np.repeat(np.arange(4), 2)
    never = np.zeros(ORIENTATIONS, dtype=bool)
    matrices = orientations(flips, never, never, turns).swapaxes(1, 2)
    return matrices[np.argsort(orientation_codes(matrices))]


_MATRICES = _matrices()
