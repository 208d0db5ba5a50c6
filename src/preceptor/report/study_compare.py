"""The figures of a study: each line of its table, and what it is against the baseline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from preceptor.evaluation.statistics import (
    ALPHA,
    FEW,
    PairedTest,
    Resampling,
    Sampled,
    Spread,
    corrected_t_test,
    holm,
    resampled_classes,
    resampled_masks,
    spread,
)
from preceptor.report.formatting import listed
from preceptor.report.intervals import Interval, interval
from preceptor.report.study_results import Key, Line, Study
from preceptor.report.tables import LOWER_IS_BETTER

BETTER, WORSE, SAME, UNTESTED = "better", "worse", "no difference shown", "not testable"


@dataclass(frozen=True)
class Versus:
    """One line less its baseline, in one metric.

    Attributes:
        test: over the folds that both have, each the mean of the seeds that both have.
        adjusted: its p-value, after Holm over the rows of the table; None where there is no test.
        pooled: 95 % of the resamplings of the difference in pooled predictions; None where the metric is not of these.
    """

    line: Line
    baseline: Line
    metric: str
    test: PairedTest
    adjusted: float | None = None
    pooled: Interval | None = None

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` where the adjusted p-value says so, else what is to be said instead."""
        if self.adjusted is None or self.test.mean is None:
            return UNTESTED
        if self.adjusted >= ALPHA:
            return SAME
        return BETTER if (self.test.mean > 0) != (self.metric in LOWER_IS_BETTER) else WORSE

    @property
    def words(self) -> str:
        """The verdict, with why there is none, and how little it stands on."""
        if self.verdict == UNTESTED:
            return f"{UNTESTED}: {self.test.reason}"
        return f"{self.verdict} ({self.test.folds} folds only)" if self.test.folds <= FEW else self.verdict


@dataclass(frozen=True)
class Pooled:
    """A figure of the predictions of all folds together, with 95 % of its resamplings."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Comparison:
    """All of a study's figures.

    Attributes:
        study: what they are of.
        spreads: line index -> metric -> mean and standard deviation over cells, None where no cell has it.
        pooled: line index -> metric -> the pooled figure.
        versus: metric -> one comparison for each row that is not the baseline.
        test_share: test images over training images, the mean over cells.
        groups, images: how many patients or lesions were resampled, and their images.
    """

    study: Study
    spreads: dict[int, dict[str, Spread | None]]
    pooled: dict[int, dict[str, Pooled]]
    versus: dict[str, list[Versus]]
    test_share: float
    groups: int
    images: int

    def against(self, line: Line, metric: str) -> Versus | None:
        """None for the baseline itself, and for a row's further networks."""
        return next((one for one in self.versus[metric] if one.line is line), None)


def compare(study: Study, samples: int | None = None) -> Comparison:
    """Works out all figures of a study.

    Args:
        samples: resamplings; as many as every report takes unless given.
    """
    draws = _Draws(study, samples)
    sampled = {line.index: draws.of(line, line.runs) for line in study.lines}
    shares = [run.test_share for run in study.runs]
    return Comparison(
        study=study,
        spreads={
            line.index: {metric: spread(list(line.values(metric).values())) for metric in study.layout}
            for line in study.lines
        },
        pooled={
            index: {metric: Pooled(one.value, _interval(one)) for metric, one in figures.items()}
            for index, figures in sampled.items()
        },
        versus={metric: _against_baseline(study, metric, draws) for metric in study.layout},
        test_share=float(np.mean(shares)),
        groups=len(draws.resampling.names),
        images=len(set().union(*(run.tested["id"] for run in study.runs))),
    )


def baseline_of(study: Study, line: Line) -> Line | None:
    """What a row's first network is measured against, the baseline's first; None for all other lines."""
    base = [one for one in study.lines if one.row.name == study.baseline]
    return base[0] if base and line is study.first_of(line.row) and line is not base[0] else None


def _against_baseline(study: Study, metric: str, draws: _Draws) -> list[Versus]:
    found = []
    for line in study.lines:
        base = baseline_of(study, line)
        if base is None:
            continue
        unlike = _unlike(line, base)
        if unlike:
            found.append(Versus(line, base, metric, PairedTest(0, None, reason=unlike)))
            continue
        mine, theirs = line.values(metric), base.values(metric)
        common = sorted(mine.keys() & theirs.keys())
        share = float(np.mean([line.runs[key].test_share for key in common])) if common else 0.0
        of_folds: dict[int, list[float]] = {}
        for fold, seed in common:
            of_folds.setdefault(fold, []).append(mine[fold, seed] - theirs[fold, seed])
        test = corrected_t_test(list(of_folds.values()), share)
        if not common and line.runs.keys() & base.runs.keys():
            test = replace(test, reason=_without(line, base, metric))
        found.append(Versus(line, base, metric, test, pooled=draws.difference(line, base, metric, common)))
    adjusted = holm([one.test.p for one in found])
    return [replace(one, adjusted=p) for one, p in zip(found, adjusted, strict=True)]


def _unlike(line: Line, base: Line) -> str:
    """Why two lines are no pair; empty where every common cell was split alike. Plans are refused, folders are not."""
    common = line.runs.keys() & base.runs.keys()
    unlike = [key for key in common if line.runs[key].split_hash != base.runs[key].split_hash]
    return f"different splits in {len(unlike)} of {len(common)} common cells" if unlike else ""


def _without(line: Line, base: Line, metric: str) -> str:
    """Why two lines with common cells have no common value of a metric."""
    lacking = [one.label for one in (line, base) if not one.values(metric)]
    return f"{listed(lacking)} without this figure" if lacking else "no common cell with this figure of both"


class _Draws:
    """Resamplings of the patients or lesions of a study, and what the lines' figures are in them; drawn once each."""

    def __init__(self, study: Study, samples: int | None) -> None:
        groups = np.concatenate([run.tested["group"].unique() for run in study.runs])
        self.study = study
        self.resampling = Resampling(groups) if samples is None else Resampling(groups, samples)
        self._known: dict[tuple[int, tuple[Key, ...]], dict[str, Sampled]] = {}

    def of(self, line: Line, keys: Iterable[Key]) -> dict[str, Sampled]:
        """Of a line on the test parts of some cells together."""
        address = line.index, tuple(sorted(keys))
        if address not in self._known:
            tables = line.tested(address[1])
            sample = resampled_masks if self.study.task == "segmentation" else resampled_classes
            found = sample(tables, self.study.classes, self.resampling)
            self._known[address] = {name: one for name, one in found.items() if np.isfinite(one.samples).any()}
        return self._known[address]

    def difference(self, line: Line, base: Line, metric: str, common: list[Key]) -> Interval | None:
        """One line less another on the cells that both have; None where there is no such figure."""
        if not common or not all(metric in self.of(one, common) for one in (line, base)):
            return None
        gaps = self.of(line, common)[metric].samples - self.of(base, common)[metric].samples
        return interval(gaps[np.isfinite(gaps)])


def _interval(one: Sampled) -> Interval:
    return interval(one.samples[np.isfinite(one.samples)])
