"""Metrics of subgroups of images (by sex, age, skin tone, site, …), and how far each is from all others.

Every interval is of a bootstrap over patients or lesions, and gaps of two networks may be subtracted draw by draw:
whether distillation widens a gap is the student's gap less the teacher's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from preceptor.evaluation.metrics.classification import mean_of_known
from preceptor.evaluation.metrics.registry import Floats, Metric
from preceptor.evaluation.resampling import (
    LEVEL,
    Cases,
    Interval,
    Resampling,
    Sampled,
    batches,
    interval,
    resample_each,
    select_cases,
)

FEW = 20  # images; a metric of fewer is not shown


@dataclass(frozen=True)
class Subgroup:
    """A metric of the images with one value of an attribute.

    Attributes:
        images: how many there are.
        value: None where it is undefined, or the subgroup has too few images.
        interval: of ``value``.
        gap: ``value`` less that of all other images (with a known value); None where either is missing.
        gap_samples: (S,) the gap in every resampling, NaN where it is undefined; empty without a gap.
    """

    images: int
    value: float | None
    interval: Interval | None
    gap: float | None
    gap_samples: Floats

    @property
    def gap_interval(self) -> Interval | None:
        return interval_of(self.gap_samples)


def subgroups(
    metric: Metric, cases: Cases, groups: ArrayLike, attribute: ArrayLike, resampling: Resampling
) -> dict[str, Subgroup]:
    """Return a metric of each value of an attribute.

    Args:
        metric: of the task that ``cases`` are of.
        cases: what the metric is called with, of N images.
        groups: (N,) patient or lesion of each image.
        attribute: (N,) strings, such as ``female``; images with an empty one are left out.
        resampling: of (at least) these groups.

    Raises:
        ValueError: numbers of images that differ.
    """
    return subgroups_of_folds(metric, [(cases, groups, attribute)], resampling)


def subgroups_of_folds(
    metric: Metric, folds: Sequence[tuple[Cases, ArrayLike, ArrayLike]], resampling: Resampling
) -> dict[str, Subgroup]:
    """Return a metric of each value of an attribute over the folds of a study, each tested by a network of its own.

    Images of all folds count together, but for a metric that ranks them, which is the mean over the folds in which
    it is defined.

    Args:
        metric, resampling: see :func:`subgroups`.
        folds: cases, groups and attribute of each, as for :func:`subgroups`.

    Raises:
        ValueError: numbers of images that differ.
    """
    attributes = [np.asarray(attribute, dtype=str) for _, _, attribute in folds]
    owners = [np.asarray(groups, dtype=str) for _, groups, _ in folds]
    for (cases, _, _), values, groups in zip(folds, attributes, owners, strict=True):
        if values.shape != groups.shape or any(len(each) != len(values) for each in cases):
            raise ValueError(f"{len(values)} attributes, {len(groups)} groups and cases of another number")
    of_folds = [cases for cases, _, _ in folds]
    if not metric.ranks and len(folds) > 1:
        of_folds = [tuple(np.concatenate(columns) for columns in zip(*of_folds, strict=True))]
        attributes, owners = [np.concatenate(attributes)], [np.concatenate(owners)]
    names = [str(name) for name in np.unique(np.concatenate(attributes)) if name]
    images = {name: sum(int((values == name).sum()) for values in attributes) for name in names}
    sides, known = _sides(images), sum(images.values())
    of_side: dict[tuple[str, bool], Sampled] = {}
    for places in batches([images[name] if inside else known - images[name] for name, inside in sides]):
        jobs = {
            (side, fold): (metric, tuple(select_cases(each, rows) for each in of_folds[fold]), owners[fold][rows])
            for side in (sides[place] for place in places)
            for fold, values in enumerate(attributes)
            if len(rows := _rows(values, *side))
        }
        sampled = resample_each(jobs, resampling)
        of_side |= {side: _mean([each for (of, _), each in sampled.items() if of == side]) for side, _ in sampled}
    return {name: _subgroup(images[name], of_side.get((name, True)), of_side.get((name, False))) for name in names}


def _sides(images: Mapping[str, int]) -> list[tuple[str, bool]]:
    """Return (value, whether inside) for every value with enough images, and for all others if they are enough."""
    known = sum(images.values())
    enough = [name for name, number in images.items() if number >= FEW]
    return [(name, True) for name in enough] + [(name, False) for name in enough if known - images[name] >= FEW]


def _rows(values: NDArray[np.str_], name: str, inside: bool) -> NDArray[np.intp]:
    return np.flatnonzero(values == name if inside else (values != name) & (values != ""))


def _mean(folds: Sequence[Sampled]) -> Sampled:
    """Return the mean over the folds in which a metric, or its resampling, is defined."""
    value = mean_of_known(np.array([fold.value for fold in folds]))
    return Sampled(float(value), mean_of_known(np.stack([fold.samples for fold in folds], axis=1)))


def widened(
    student: Mapping[str, Subgroup], teacher: Mapping[str, Subgroup], level: float = LEVEL
) -> dict[str, tuple[float, Interval]]:
    """Return by how much each subgroup's gap is larger, in size, for the student than for its teacher.

    Args:
        student, teacher: of the same images and resamplings.
        level: of the intervals.

    Returns:
        (|student's gap| − |teacher's gap|, interval) of each subgroup in which both have a gap.
    """
    result = {}
    for name, mine in student.items():
        theirs = teacher.get(name)
        if theirs is None or mine.gap is None or theirs.gap is None:
            continue
        bounds = interval_of(np.abs(mine.gap_samples) - np.abs(theirs.gap_samples), level)
        if bounds is not None:
            result[name] = (abs(mine.gap) - abs(theirs.gap), bounds)
    return result


def interval_of(samples: Floats, level: float = LEVEL) -> Interval | None:
    """Return the interval of samples, None where none is defined."""
    return interval(samples, level) if np.isfinite(samples).any() else None


def _subgroup(images: int, mine: Sampled | None, others: Sampled | None) -> Subgroup:
    """Return a subgroup from its metric and that of all other images; None where either has too few images."""
    nothing = np.zeros(0)
    if mine is None or np.isnan(mine.value):
        return Subgroup(images, None, None if mine is None else interval_of(mine.samples), None, nothing)
    if others is None or np.isnan(others.value):
        return Subgroup(images, mine.value, interval_of(mine.samples), None, nothing)
    return Subgroup(
        images, mine.value, interval_of(mine.samples), mine.value - others.value, mine.samples - others.samples
    )
