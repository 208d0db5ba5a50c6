"""Metrics of subgroups of images (by sex, age, skin tone, site, …), and how far each is from all others.

Every interval is of a bootstrap over patients or lesions, and gaps of two networks may be subtracted draw by draw:
whether distillation widens a gap is the student's gap less the teacher's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from preceptor.evaluation.metrics.registry import Floats, Metric
from preceptor.evaluation.resampling import LEVEL, Cases, Interval, Resampling, interval, resample, select_cases

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
    def too_few(self) -> bool:
        return self.images < FEW

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
    values, owners = np.asarray(attribute, dtype=str), np.asarray(groups, dtype=str)
    if values.shape != owners.shape or any(len(each) != len(values) for each in cases):
        raise ValueError(f"{len(values)} attributes, {len(owners)} groups and cases of another number")
    known = values != ""
    return {
        str(name): _subgroup(metric, cases, owners, values == name, known & (values != name), resampling)
        for name in np.unique(values[known])
    }


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


def _subgroup(
    metric: Metric,
    cases: Cases,
    groups: NDArray[np.str_],
    inside: NDArray[np.bool_],
    outside: NDArray[np.bool_],
    resampling: Resampling,
) -> Subgroup:
    images, nothing = int(inside.sum()), np.zeros(0)
    if images < FEW:
        return Subgroup(images, None, None, None, nothing)
    mine = _resampled(metric, cases, groups, inside, resampling)
    value = None if np.isnan(mine[0]) else float(mine[0])
    if value is None or outside.sum() < FEW:
        return Subgroup(images, value, interval_of(mine[1:]), None, nothing)
    gaps = mine - _resampled(metric, cases, groups, outside, resampling)
    gap = None if np.isnan(gaps[0]) else float(gaps[0])
    return Subgroup(images, value, interval_of(mine[1:]), gap, nothing if gap is None else gaps[1:])


def _resampled(
    metric: Metric, cases: Cases, groups: NDArray[np.str_], rows: NDArray[np.bool_], resampling: Resampling
) -> Floats:
    """Return the metric of some images, and then in every resampling of all groups, (1 + S,)."""
    chosen = tuple(select_cases(each, np.flatnonzero(rows)) for each in cases)
    sampled = resample({metric.key: metric}, [(chosen, groups[rows])], resampling)[metric.key]
    return np.append(sampled.value, sampled.samples)
