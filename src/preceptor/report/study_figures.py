"""Figures of a study: differences to the baseline as a forest plot, metric against cost, curves of all cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.statistics import FEW
from preceptor.report.canvas import RULE, SERIES, Figure, sketch
from preceptor.report.figures import plain_powers
from preceptor.report.formatting import short
from preceptor.report.study_compare import Comparison, Versus
from preceptor.report.study_results import Line

_HEIGHT, _WIDTH = 3.2, 4.4  # inches of the frontier: there are names to be told apart
_CLEAR = 0.055, 0.06  # of the axes, between two labels
COSTS: dict[str, tuple[str, Callable[[dict[str, Any]], float | None]]] = {
    "latency": ("median ms of one image", lambda cost: (cost.get("latency_ms") or {}).get("median")),
    "size": ("bytes as float32", lambda cost: cost.get("bytes")),
    "FLOPs": ("FLOPs of one image", lambda cost: cost.get("flops")),
}


@dataclass(frozen=True)
class Forest:
    """Differences on one scale; places are percentages of its width.

    Attributes:
        lanes: one per method.
        zero: place of no difference.
        ticks: (place, value).
    """

    metric: str
    heading: str
    lanes: list[Lane]
    zero: float
    ticks: list[tuple[float, float]]


@dataclass(frozen=True)
class Lane:
    """One method in a forest plot: its mean over folds, and two intervals as (start, width)."""

    versus: Versus
    mean: float | None
    tested: tuple[float, float] | None
    pooled: tuple[float, float] | None


def forest(comparison: Comparison, metric: str) -> Forest | None:
    """Differences of all methods to the baseline in one metric; None where there is none."""
    versus = comparison.versus[metric]
    ends = [row.test.mean for row in versus if row.test.mean is not None]
    ends += [end for row in versus if row.pooled for end in (row.pooled.low, row.pooled.high)]
    tests = [row.test for row in versus if row.test.low is not None]
    # Intervals over few folds are so wide that beside them all others would shrink to dots: they are cut.
    for test in [test for test in tests if test.folds > FEW] or tests:
        ends += [end for end in (test.low, test.high) if end is not None]
    if not ends:
        return None
    low, high = min(*ends, 0.0), max(*ends, 0.0)
    margin = 0.06 * (high - low) or 0.01
    low, high = low - margin, high + margin

    def place(value: float) -> float:
        return 100 * (min(max(value, low), high) - low) / (high - low)

    def stretch(start: float | None, end: float | None) -> tuple[float, float] | None:
        return None if start is None or end is None else (place(start), place(end) - place(start))

    lanes = [
        Lane(
            row,
            None if row.test.mean is None else place(row.test.mean),
            stretch(row.test.low, row.test.high),
            stretch(row.pooled.low, row.pooled.high) if row.pooled else None,
        )
        for row in versus
    ]
    ticks = [float(tick) for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]
    return Forest(metric, comparison.study.layout[metric], lanes, place(0), [(place(tick), tick) for tick in ticks])


def costs_of(lines: Sequence[Line]) -> dict[int, dict[str, Any]]:
    """Line index → cost of its network, where its runs measured it.

    Networks of equal size and FLOPs are taken for one architecture, whose latency is the median over all its cells: a
    cell is timed while others keep the machine busy, which would set equal networks apart.
    """
    costs: dict[int, dict[str, Any]] = {}
    timed: dict[tuple[Any, ...], list[float]] = {}
    for line in lines:
        known = [cost for key in line.runs if (cost := line.result(key).cost)]
        if known:
            costs[line.index] = dict(known[0])
        for cost in known:
            if cost.get("latency_ms"):
                timed.setdefault(_architecture(cost), []).append(cost["latency_ms"]["median"])
    for cost in costs.values():
        if medians := timed.get(_architecture(cost)):
            cost["latency_ms"] = {"median": float(np.median(medians))}
    return costs


def _architecture(cost: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(cost.get(key) for key in ("image_size", "parameters", "bytes", "flops"))


def frontiers(comparison: Comparison) -> list[Figure]:
    """The main metric over latency, size and FLOPs; a line joins the Pareto front."""
    metric, costs = comparison.study.first, costs_of(comparison.study.lines)
    figures = []
    for kind, (label, value_of) in COSTS.items():
        points = []
        for line in comparison.study.lines:
            cost, spread = value_of(costs.get(line.index, {})), comparison.spreads[line.index][metric]
            if cost and spread is not None:
                points.append((float(cost), spread.mean, spread.std or 0.0, line))
        if points:
            figures.append(_frontier(comparison, metric, kind, label, points))
    return figures


def _frontier(
    comparison: Comparison, metric: str, kind: str, label: str, points: list[tuple[float, float, float, Line]]
) -> Figure:
    heading = comparison.study.layout[metric]
    title = f"{heading} against {kind}"
    with sketch(title, label, heading, width=_WIDTH, height=_HEIGHT) as drawing:
        axes = drawing.axes
        axes.set_xscale("log")
        costs = [cost for cost, *_ in points]
        axes.set_xlim(min(costs) / 1.6, max(costs) * 1.9)
        axes.xaxis.grid(False)
        plain_powers(axes.xaxis)
        best = pareto_front([(cost, mean if METRICS[metric].higher_is_better else -mean) for cost, mean, *_ in points])
        axes.plot([points[i][0] for i in best], [points[i][1] for i in best], color=RULE, linewidth=1.2, zorder=1)
        for cost, mean, std, line in points:
            colour = SERIES[line.colour - 1]
            axes.plot([cost, cost], [mean - std, mean + std], color=colour, linewidth=1, alpha=0.45)
            axes.plot(cost, mean, "o", color=colour, markersize=6)
        axes.margins(y=0.12)
        axes.autoscale_view(scalex=False)
        _number(axes, [(cost, mean, line.index) for cost, mean, _, line in points])
    return Figure(drawing.svg, title, "mean ± standard deviation over cells; numbers as in the table")


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the Pareto front of (cost, merit), from the cheapest on."""
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1]))
    kept: list[int] = []
    for index in order:
        if not kept or points[index][1] > points[kept[-1]][1]:
            kept.append(index)
    return kept


def _number(axes: Axes, points: Sequence[tuple[float, float, int]]) -> None:
    """Write each point's number beside it, at its height where there is room."""
    to_axes = axes.transAxes.inverted().transform
    shifted = [to_axes(axes.transData.transform((cost, mean))) for cost, mean, _ in points]
    at = [(float(x), float(y)) for x, y in shifted]
    for (x, y), (left, height), (*_, index) in zip(at, label_places(at), points, strict=True):
        colour = SERIES[index % len(SERIES)]
        if abs(height - y) > 0.02:
            ends = [x + 0.012, left - 0.006], [y, height]
            axes.plot(*ends, color=colour, linewidth=0.6, transform=axes.transAxes, alpha=0.35)
        axes.text(
            left, height, str(index + 1), color=colour, va="center_baseline", fontsize=9, transform=axes.transAxes
        )


def label_places(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Places of the labels of points, in the order given; all in fractions of the axes' width and height.

    Each label is to the right of its point and at its height, or as close as its neighbours allow: further right before
    higher or lower, and within the frame.
    """
    width, height = _CLEAR
    taken: list[tuple[float, float]] = []
    places: dict[int, tuple[float, float]] = {}

    def free(left: float, at: float) -> bool:
        on_point = any(left - 0.01 < x < left + width and abs(at - y) < height / 2 for x, y in points)
        return not on_point and not any(abs(left - x) < width and abs(at - y) < height for x, y in taken)

    for index in sorted(range(len(points)), key=lambda place: points[place][1]):
        x, y = points[index]
        columns = [left for column in range(6) if (left := x + 0.036 + column * width) + width <= 1.02] or [x + 0.036]
        shifts = sorted((step / 100 for step in range(-100, 101, 2)), key=abs)
        heights = [y + shift for shift in shifts if height / 2 <= y + shift <= 1 - height / 2]
        place = next(((left, at) for at in heights for left in columns if free(left, at)), (columns[0], y))
        taken.append(place)
        places[index] = place
    return [places[index] for index in range(len(points))]


def curves(comparison: Comparison) -> list[Figure]:
    """The metric that selected epochs, over the epochs: a thin line per cell, a thick one for their mean, on one scale.

    Empty where no cell has more than one epoch.
    """
    drawn = []
    for line in comparison.study.lines:
        tracks = [track for track in (_track(line, key) for key in line.runs) if track is not None]
        if tracks:
            drawn.append((line, tracks))
    if all(len(track) == 1 for _, tracks in drawn for track in tracks):
        return []
    every = [value for _, tracks in drawn for track in tracks for value in track]
    low, high = min(every), max(every)
    return [_progress(line, tracks, low, high) for line, tracks in drawn]


def _track(line: Line, key: tuple[int, int]) -> pd.Series | None:
    run = line.runs[key]
    name = f"{run.curve_part}/{line.network}/{run.curve_metric}"
    history = run.history  # which is read for this
    if name not in history.columns:
        return None
    track = history.set_index("epoch")[name].dropna()
    return track.rename(f"{METRICS[run.curve_metric].label}, {run.curve_part} part") if len(track) else None


def _progress(line: Line, tracks: list[pd.Series], low: float, high: float) -> Figure:
    colour = SERIES[line.colour - 1]
    with sketch(f"{tracks[0].name} of {line.label} over the epochs", "epoch", height=2.3) as drawing:
        axes = drawing.axes
        for track in tracks:
            axes.plot(track.index, track, color=colour, linewidth=0.8, alpha=0.4, marker="o" * (len(track) == 1))
        mean = pd.concat(tracks, axis=1).dropna().mean(axis=1)  # of the epochs that all cells have
        if len(tracks) > 1 and len(mean):
            axes.plot(mean.index, mean, color=colour, linewidth=2)
        axes.set_xlim(1, max(2, *(int(track.index.max()) for track in tracks)))
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low) + 1e-9)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(short))
    return Figure(drawing.svg, line.label, str(tracks[0].name))
