"""Estimate how much work of a study is left, from its own runs as far as there are some."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from preceptor.runs.dependencies import PlannedRun
from preceptor.study.outcome import epochs_done, seconds_so_far
from preceptor.study.scheduler import Study
from preceptor.study.timing import Timed

#: Finished runs tell all of their length, these steps not: a run also prepares itself, measures and writes its report.
_STEPS = (
    "a few timed steps of each recipe on this machine, one at a time; the start and the report of each run, several "
    "seconds, are not in it"
)


@dataclass(frozen=True)
class Remaining:
    """Work that is left.

    Attributes:
        seconds: of the runs that can be estimated, one after another.
        unknown: number of runs without an estimate.
        basis: what the estimate rests on.
        reasons: why runs have none, as far as it was tried.
    """

    seconds: float
    unknown: int
    basis: str
    reasons: tuple[str, ...] = ()


def remaining(study: Study, timed: Timed | None = None) -> Remaining:
    """Estimate each pending run by the first of these that exists.

    The mean of finished runs of its row; the run's own epochs so far; the mean of other rows' finished runs; ``timed``.

    Args:
        timed: what :func:`preceptor.study.timing.time_runs` measured.
    """
    finished: dict[str, list[float]] = {}
    for key, planned in study.matrix.runs.items():
        if study.outcomes[key].state == "done":
            finished.setdefault(_kind(study, planned), []).append(study.outcomes[key].seconds)
    seconds, unknown, bases, reasons = 0.0, 0, set(), set()
    for key, planned in study.matrix.runs.items():
        if study.outcomes[key].state != "pending":
            continue
        path, same_kind = study.matrix.paths[key], finished.get(_kind(study, planned))
        if same_kind:
            seconds += max(0.0, statistics.fmean(same_kind) - seconds_so_far(path))
            bases.add("finished cells of the same rows")
        elif done := epochs_done(path):
            seconds += seconds_so_far(path) / done * max(0, planned.recipe.epochs - done)
            bases.add("epochs so far")
        elif finished:
            seconds += statistics.fmean(each for some in finished.values() for each in some)
            bases.add("finished cells of other rows")
        elif timed and key in timed.seconds:
            seconds += timed.seconds[key]
            bases.add(_STEPS)
        else:
            unknown += 1
            reasons |= {timed.unknown[key]} if timed and key in timed.unknown else set()
    return Remaining(seconds, unknown, "from " + " and ".join(sorted(bases)), tuple(sorted(reasons)))


def _kind(study: Study, planned: PlannedRun) -> str:
    """Runs of one kind take about as long: those of a row, or of a shared recipe."""
    rows = [cell.row.name for cell in study.matrix.cells if cell.run.identity == planned.identity]
    return f"row {rows[0]}" if rows else f"shared {planned.recipe.name}"
