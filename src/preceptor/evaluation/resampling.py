"""How far a figure would move with other patients: a paired bootstrap over groups (patients or lesions).

Whole groups are drawn with replacement, since images of one lesion are not independent. Draws depend on the groups
alone, so that two networks tested on the same images meet the same resamplings and their samples may be subtracted.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from preceptor.evaluation.metrics.registry import Draws, Floats, Metric, Resampled
from preceptor.evaluation.pixel_counts import PixelCounts

SAMPLES = 2000
SEED = 20_230_517  # fixed, so that the same runs give the same page
LEVEL = 0.95
_MOST_HELD = 2**24  # draws of groups; 64 MiB once they are numbers that can be multiplied
_BLOCK = 100  # resamplings at a time: bounds the memory of large data sets
_IMAGES = 2**15  # in one pass over the draws, of however many seeds and subgroups: bounds it too
Cases = tuple[Any, ...]  # what the metrics of a task are called with
J = TypeVar("J", bound=Hashable)


@dataclass(frozen=True)
class Interval:
    """A percentile interval, in the unit of what was resampled."""

    low: float
    high: float

    @property
    def holds_zero(self) -> bool:
        return self.low <= 0 <= self.high


@dataclass(frozen=True)
class Sampled:
    """A metric's value, and its values (S,) in every resampling, NaN where it is undefined."""

    value: float
    samples: Floats

    def __sub__(self, other: Sampled) -> Sampled:
        """Return the difference, paired where both have the same resamplings."""
        return Sampled(self.value - other.value, self.samples - other.samples)


class Resampling:
    """Draws of whole groups with replacement, the same for every network.

    Args:
        groups: of all images of a part or a study, in any order and with repeats.
        samples: how many draws.
        seed: fixed, so that the same runs give the same report.
    """

    def __init__(self, groups: ArrayLike, samples: int = SAMPLES, seed: int = SEED) -> None:
        self.names = np.unique(np.asarray(groups, dtype=str))
        draw = np.random.default_rng(seed)
        even = np.full(len(self.names), 1 / len(self.names))
        blocks = [min(_BLOCK, samples - start) for start in range(0, samples, _BLOCK)]
        self.times = np.concatenate(
            [draw.multinomial(len(self.names), even, size=size).astype(np.uint16) for size in blocks]
        )

    def __len__(self) -> int:
        return len(self.times)

    def index(self, groups: ArrayLike) -> NDArray[np.intp]:
        """Return the places of some groups in ``names``."""
        return np.searchsorted(self.names, np.asarray(groups, dtype=str))

    def blocks(self) -> Iterator[Draws]:
        """Yield how often each group is drawn, (some, G): once each first, which gives the figures themselves."""
        yield np.ones((1, len(self.names)), dtype=np.float32)
        yield from self._held if self.times.size <= _MOST_HELD else self._converted()

    @cached_property
    def _held(self) -> list[Draws]:
        """Blocks that are kept, since every metric of every network asks for them."""
        return list(self._converted())

    def _converted(self) -> Iterator[Draws]:
        for start in range(0, len(self.times), _BLOCK):
            # Column by column, since curves multiply the transpose; counts are exact, and half as large as in float64.
            block = self.times[start : start + _BLOCK].astype(np.float32, order="F")
            block.setflags(write=False)  # every metric gets the same
            yield block


@lru_cache(maxsize=2)
def _shared(names: tuple[str, ...], seed: int) -> Resampling:
    return Resampling(np.array(names), seed=seed)


def shared_resampling(groups: ArrayLike, seed: int = SEED) -> Resampling:
    """Return draws of some groups; those of the last two sets of groups are kept, since drawing them takes a while."""
    return _shared(tuple(np.unique(np.asarray(groups, dtype=str)).tolist()), seed)


def resample(
    metrics: Mapping[str, Metric], tables: Sequence[tuple[Cases, ArrayLike]], resampling: Resampling
) -> dict[str, Sampled]:
    """Return metrics of some predictions, and what they are in every resampling.

    Args:
        metrics: by key; those that are not resampled are left out.
        tables: cases and the group of each image, (N,); of several tables (seeds), each with predictions for the same
            images, the figures are the means over tables.
        resampling: of (at least) these groups.

    >>> from preceptor.evaluation.metrics import metrics_of
    >>> cases = np.array([0, 1, 1, 0]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    >>> groups = ["patient 1", "patient 2", "patient 3", "patient 3"]
    >>> sampled = resample(metrics_of("classification"), [(cases, groups)], Resampling(groups))["accuracy"]
    >>> sampled.value, interval(sampled.samples)
    (0.75, Interval(low=0.5, high=1.0))
    """
    resampled = {key: metric for key, metric in metrics.items() if metric.resampled and tables}
    each: dict[tuple[str, int], Sampled] = {}
    for places in batches([np.size(groups) for _, groups in tables]):
        jobs = {(key, place): (metric, *tables[place]) for key, metric in resampled.items() for place in places}
        each |= resample_each(jobs, resampling)
    result = {}
    for key in resampled:
        of_tables = [each[key, place] for place in range(len(tables))]
        samples = np.mean([sampled.samples for sampled in of_tables], axis=0)
        result[key] = Sampled(float(np.mean([sampled.value for sampled in of_tables])), samples)
    return result


def resample_folds(
    metrics: Mapping[str, Metric],
    together: Sequence[tuple[Cases, ArrayLike]],
    apart: Sequence[tuple[Cases, ArrayLike]],
    resampling: Resampling,
) -> dict[str, Sampled]:
    """Return metrics of the folds of a study, each tested by a network of its own; see :func:`resample`.

    Args:
        metrics: by key; those that rank images are computed within folds and averaged.
        together: cases and groups of all folds, one table per seed.
        apart: the same of each fold and seed.
        resampling: of (at least) these groups.
    """
    ranking = {key: metric for key, metric in metrics.items() if metric.ranks}
    others = {key: metric for key, metric in metrics.items() if not metric.ranks}
    return resample(others, together, resampling) | resample(ranking, apart, resampling)


def resample_each(jobs: Mapping[J, tuple[Metric, Cases, ArrayLike]], resampling: Resampling) -> dict[J, Sampled]:
    """Return metrics, each of cases of its own, and what they are in every resampling; one pass over the draws.

    Args:
        jobs: metric, its cases and the group of each image, (N,), by a key.
        resampling: of (at least) these groups.
    """
    values = _prepare(jobs, resampling)
    samples: dict[J, list[Floats]] = {key: [] for key in jobs}
    for times in resampling.blocks() if jobs else ():
        for key, of_block in values(times).items():
            samples[key].append(of_block)
    joined = {key: np.concatenate(parts) for key, parts in samples.items()}
    return {key: Sampled(float(values[0]), values[1:]) for key, values in joined.items()}


def batches(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Yield places of tables in order, as many at a time as have few enough images together, and at least one.

    Args:
        sizes: images of each table.
    """
    batch: list[int] = []
    for place, size in enumerate(sizes):
        if batch and sum(sizes[each] for each in batch) + size > _IMAGES:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def interval(samples: Floats, level: float = LEVEL) -> Interval:
    """Return the central part of the samples that are defined, 95 % of them unless another ``level`` is given.

    Raises:
        ValueError: none is.
    """
    defined = samples[np.isfinite(samples)]
    if not len(defined):
        raise ValueError("the metric is undefined in every resampling")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _prepare(
    jobs: Mapping[J, tuple[Metric, Cases, ArrayLike]], resampling: Resampling
) -> Callable[[Draws], dict[J, Floats]]:
    """Return a function of draws (S, G) that gives the values (S,) of every job; all sums are one matrix product."""
    size = len(resampling.names)
    columns: dict[Any, slice] = {}  # of the product, by what images add and of which cases
    of_job: dict[J, slice] = {}
    sums: list[Floats] = []
    others: dict[J, Resampled] = {}
    width = 0
    for key, (metric, cases, groups) in jobs.items():
        group = resampling.index(groups)
        if metric.additive is not None:
            shared = metric.additive.statistics, tuple(map(id, cases))
            if shared not in columns:
                sums.append(_group_sums(metric.additive.statistics(*cases), group, size))
                columns[shared] = slice(width, width := width + sums[-1].shape[1])
            of_job[key] = columns[shared]
        elif metric.prepare is not None:
            others[key] = metric.prepare(*cases, group, size)
        else:
            others[key] = _case_by_case(metric, cases, group)
    stacked = np.hstack(sums) if sums else np.zeros((size, 0))

    def values(times: Draws) -> dict[J, Floats]:
        result = {key: each(times) for key, each in others.items()}
        product = times.astype(np.float64) @ stacked if width else None
        for key, place in of_job.items():
            additive = jobs[key][0].additive
            assert additive is not None
            assert product is not None
            result[key] = np.asarray(additive.value(product[:, place]), dtype=np.float64)
        return result

    return values


def _group_sums(statistics: Floats, group: NDArray[np.intp], size: int) -> Floats:
    sums = np.zeros((size, statistics.shape[1]))
    np.add.at(sums, group, statistics)
    return sums


def _case_by_case(metric: Metric, cases: Cases, group: NDArray[np.intp]) -> Resampled:
    """Call the metric on the drawn cases, each as often as its group is drawn."""

    def values(times: Draws) -> Floats:
        drawn = (np.repeat(np.arange(len(group)), row[group].astype(np.int64)) for row in times)
        values = [metric(*(select_cases(each, rows) for each in cases)) if len(rows) else None for rows in drawn]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    return values


def select_cases(cases: Any, rows: NDArray[np.intp]) -> Any:
    """Return some images, in any order and with repeats, of what a metric is called with: an array or PixelCounts."""
    if not isinstance(cases, PixelCounts):
        return cases[rows]
    optional = {
        name: None if array is None else array[rows]
        for name, array in (("correct", cases.correct), ("pixels", cases.pixels))
    }
    return replace(
        cases,
        truth=cases.truth[rows],
        predicted=cases.predicted[rows],
        both=cases.both[rows],
        values={key: value[rows] for key, value in cases.values.items()},
        **optional,
    )
