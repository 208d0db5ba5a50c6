"""The statistics of a study: each method's metrics, and their differences to the baseline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.resampling import LEVEL, Interval, Resampling, Sampled, interval, resample_folds
from preceptor.evaluation.statistics import (
    ALPHA,
    FEW,
    PairedTest,
    Spread,
    corrected_t_test,
    holm,
    holm_levels,
    spread,
)
from preceptor.report.formatting import NONE, listed, signed, span
from preceptor.report.study_results import Key, Line, StudyResults, by_seed
from preceptor.tasks import TASKS

BETTER, WORSE, SAME, UNTESTED = "better", "worse", "no difference shown", "not testable"


@dataclass(frozen=True)
class Versus:
    """One method minus the baseline, in one metric.

    Attributes:
        test: over the folds that both have, each the mean of the seeds that both have; its interval is at ``level``.
        adjusted: its p-value after Holm over the methods; None where there is no test.
        level: confidence level of both intervals, corrected for the number of methods as the p-value is.
        pooled: bootstrap interval of the difference of pooled predictions; None where the metric has none.
    """

    line: Line
    baseline: Line
    metric: str
    test: PairedTest
    adjusted: float | None = None
    level: float = LEVEL
    pooled: Interval | None = None

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` where the adjusted p-value is significant, else what else is the case."""
        if self.adjusted is None or self.test.mean is None:
            return UNTESTED
        if self.adjusted >= ALPHA:
            return SAME
        return BETTER if METRICS[self.metric].better(self.test.mean) else WORSE

    @property
    def words(self) -> str:
        """The verdict, the reason where there is none, and a mark where it rests on few folds."""
        if self.verdict == UNTESTED:
            return f"{UNTESTED}: {self.test.reason}"
        return f"{self.verdict} ({self.test.folds} folds only)" if self.test.folds <= FEW else self.verdict

    @property
    def folds_higher(self) -> str:
        """In how many folds the metric is higher than the baseline's, such as ``4 of 5``; the test is another thing."""
        return f"{self.test.higher} of {self.test.folds}" if self.test.folds else NONE

    @property
    def css(self) -> str:
        return {BETTER: "good", WORSE: "bad"}.get(self.verdict, "")

    @property
    def arrow(self) -> str:
        """▲ or ▼ where the metric is significantly higher or lower than the baseline's, else nothing."""
        return ("▲" if self.test.mean > 0 else "▼") if self.css and self.test.mean is not None else ""

    def difference(self, decimals: int) -> str:
        """The mean difference, with its corrected interval where it was tested."""
        test = self.test
        if test.mean is None:
            return NONE
        mean = signed(test.mean, decimals)
        return mean if test.low is None or test.high is None else f"{mean} ({span(test.low, test.high, decimals)})"


@dataclass(frozen=True)
class Pooled:
    """A metric of the predictions of all folds together, with its bootstrap interval.

    Of metrics that rank images, the mean over folds: see :class:`preceptor.evaluation.metrics.registry.Metric`.
    """

    value: float
    interval: Interval


@dataclass(frozen=True)
class Comparison:
    """All statistics of a study.

    Attributes:
        study: what they are of.
        spreads: line index → metric → mean and standard deviation over cells, None where no cell has it.
        pooled: line index → metric → its pooled value.
        versus: metric → one comparison for each row that is not the baseline.
        test_share: test images over training images, the mean over cells.
        groups, images: patients or lesions that were resampled, and their images.
        resampling: the draws of them.
    """

    study: StudyResults
    spreads: dict[int, dict[str, Spread | None]]
    pooled: dict[int, dict[str, Pooled]]
    versus: dict[str, list[Versus]]
    test_share: float
    groups: int
    images: int
    resampling: Resampling

    def against(self, line: Line, metric: str) -> Versus | None:
        """None for the baseline itself, and for a row's further networks."""
        return next((versus for versus in self.versus[metric] if versus.line is line), None)


def compare(study: StudyResults, samples: int | None = None) -> Comparison:
    """Compute all statistics of a study.

    Args:
        samples: resamplings; by default as many as in every report.
    """
    base = next((line for line in study.lines if line.row.name == study.baseline), None)
    versus = {metric: _against_baseline(study, base, metric) for metric in study.layout}
    draws, pooled = _Draws(study, samples), {}
    for line in study.lines:  # of whose draws only intervals are kept, but for the baseline's
        pooled[line.index] = {
            metric: Pooled(sample.value, interval(sample.samples, LEVEL))
            for metric, sample in draws.of(line, line.runs).items()
        }
        for metric, rows in versus.items():
            versus[metric] = [_with_draws(row, draws) if row.line is line else row for row in rows]
        if line is not base:
            draws.forget(line)
    return Comparison(
        study=study,
        spreads={
            line.index: {metric: spread(list(line.values(metric).values())) for metric in study.layout}
            for line in study.lines
        },
        pooled=pooled,
        versus=versus,
        test_share=float(np.mean([run.test_share for run in study.runs])),
        groups=len(draws.resampling.names),
        images=len(set().union(*(run.tested_images for run in study.one_run_a_split))),
        resampling=draws.resampling,
    )


def _against_baseline(study: StudyResults, base: Line | None, metric: str) -> list[Versus]:
    """Compare each method with the baseline, still without the bootstrap's interval."""
    methods = [line for line in study.lines if base is not None and line.is_first and line is not base]
    if base is None or not methods:
        return []
    tests = [_test(line, base, metric) for line in methods]
    p_values = [test.p for test in tests]
    result = []
    for line, test, adjusted, level in zip(methods, tests, holm(p_values), holm_levels(p_values), strict=True):
        level = level or 1 - ALPHA / len(methods)  # no test: Bonferroni's, for the bootstrap
        result.append(Versus(line, base, metric, test.at_level(level), adjusted, level))
    return result


def _with_draws(row: Versus, draws: _Draws) -> Versus:
    line, base, metric = row.line, row.baseline, row.metric
    common = [] if _other_splits(line, base) else sorted(line.values(metric).keys() & base.values(metric).keys())
    return replace(row, pooled=draws.difference(line, base, metric, common, row.level))


def _test(line: Line, base: Line, metric: str) -> PairedTest:
    if unlike := _other_splits(line, base):
        return PairedTest(0, None, reason=unlike)
    mine, theirs = line.values(metric), base.values(metric)
    common = sorted(mine.keys() & theirs.keys())
    if not common and line.runs.keys() & base.runs.keys():
        return PairedTest(0, None, reason=_missing(line, base, metric))
    folds: dict[int, list[float]] = {}
    for fold, seed in common:
        folds.setdefault(fold, []).append(mine[fold, seed] - theirs[fold, seed])
    share = float(np.mean([line.runs[key].test_share for key in common])) if common else 0.0
    return corrected_t_test(list(folds.values()), share)


def _other_splits(line: Line, base: Line) -> str:
    """Why two lines are not a pair; empty where every common cell has the same split."""
    common = line.runs.keys() & base.runs.keys()
    unlike = [key for key in common if line.runs[key].split_hash != base.runs[key].split_hash]
    return f"different splits in {len(unlike)} of {len(common)} common cells" if unlike else ""


def _missing(line: Line, base: Line, metric: str) -> str:
    """Why two lines with common cells have no common value of a metric."""
    lacking = [each.label for each in (line, base) if not each.values(metric)]
    return f"{listed(lacking)} without this metric" if lacking else "no common cell with this metric of both"


class _Draws:
    """Resamplings of the patients or lesions of a study, and the lines' metrics in them, until they are forgotten."""

    def __init__(self, study: StudyResults, samples: int | None) -> None:
        groups = np.concatenate([run.tested_groups for run in study.one_run_a_split])
        self.study = study
        self.resampling = Resampling(groups) if samples is None else Resampling(groups, samples)
        self._known: dict[tuple[int, tuple[Key, ...]], dict[str, Sampled]] = {}

    def of(self, line: Line, keys: Iterable[Key]) -> dict[str, Sampled]:
        """Metrics of a line on the test parts of some cells together; of those that rank images the mean over folds."""
        address = line.index, tuple(sorted(keys))
        if address not in self._known:
            task, classes = TASKS[self.study.task], self.study.classes
            shown = (task.headline, *self.study.layout)
            metrics = {key: metric for key, metric in task.metrics.items() if key in shown or metric.per_image}
            folds = line.tested_in_folds(address[1])
            together, apart = (
                [(task.metric_cases(rows, classes), rows["group"].to_numpy(str)) for rows in tables]
                for tables in (by_seed(folds).values(), folds.values())
            )
            sampled = resample_folds(metrics, together, apart, self.resampling)
            self._known[address] = {key: each for key, each in sampled.items() if np.isfinite(each.samples).any()}
        return self._known[address]

    def forget(self, line: Line) -> None:
        """Drop a line's metrics, which no other line is compared with."""
        self._known = {address: sampled for address, sampled in self._known.items() if address[0] != line.index}

    def difference(self, line: Line, base: Line, metric: str, common: list[Key], level: float) -> Interval | None:
        """Interval of one line minus another on the cells that both have; None where there is no such metric."""
        if not common or not all(metric in self.of(each, common) for each in (line, base)):
            return None
        return interval(self.of(line, common)[metric].samples - self.of(base, common)[metric].samples, level)
