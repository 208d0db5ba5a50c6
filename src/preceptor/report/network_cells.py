"""A network's predictions cell by cell: what a cell's validation part decides is applied to its own test part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluation.metrics import Metric
from preceptor.evaluation.resampling import Resampling, resample_folds
from preceptor.report.network_predictions import Estimate, NetworkPredictions, estimate_of

#: What a metric is called with, from the predictions of one cell: arrays with one row per image.
CasesOf = Callable[[NetworkPredictions], tuple[NDArray[Any], ...]]


@dataclass(frozen=True)
class NetworkCells:
    """One network of a study in its cells, or of a run, which is one cell.

    Attributes:
        cells: its predictions in each cell, fold and seed.
        resampling: of the patients or lesions of the whole study, or of the run.
    """

    cells: Mapping[tuple[int, int], NetworkPredictions]
    resampling: Resampling

    @property
    def has_validation(self) -> bool:
        """Whether every cell has a validation part to choose by."""
        return all(cell.validation is not None for cell in self.cells.values())

    def by_seed(self) -> list[list[NetworkPredictions]]:
        """Return the cells of each seed, whose test parts are different images."""
        seeds = dict.fromkeys(seed for _, seed in sorted(self.cells))
        return [[cell for (_, of), cell in sorted(self.cells.items()) if of == seed] for seed in seeds]

    def estimates(self, metrics: Mapping[str, Metric], cases: CasesOf) -> dict[str, Estimate]:
        """Return metrics of the test parts of all folds together, the means over seeds, with intervals.

        Those that rank images are computed within folds and averaged.
        """
        together = [joined(cells, cases) for cells in self.by_seed()]
        apart = [(cases(cell), cell.test.groups) for cell in self.cells.values()]
        sampled = resample_folds(metrics, together, apart, self.resampling)
        return {key: estimate_of(sampled[key]) for key in metrics}


def joined(cells: Sequence[NetworkPredictions], cases: CasesOf) -> tuple[tuple[NDArray[Any], ...], NDArray[np.str_]]:
    """Return what metrics are called with, of several cells together, and the group of each image."""
    columns = tuple(np.concatenate(parts) for parts in zip(*map(cases, cells), strict=True))
    return columns, np.concatenate([cell.test.groups for cell in cells])


def of_run(network: NetworkPredictions) -> NetworkCells:
    """Return a run's network as the only cell there is."""
    return NetworkCells({(0, 0): network}, network.resampling)
