"""Figures of a report: training curves, ROC curves, reliability diagrams, headline metric against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from sklearn.metrics import auc, roc_curve

from preceptor.evaluation.calibration import BINS
from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.score_columns import PREFIX, score_columns
from preceptor.report.canvas import FAINT, RULE, SERIES, SHADES, Figure, Mark, sketch
from preceptor.report.entries import Entry, LabelledRun
from preceptor.report.formatting import scaled, short
from preceptor.tasks import TASKS

MOST_AREAS = 5  # AUC values written into one ROC panel
LOG_FROM = 50.0  # a loss that spans more than this ratio is drawn on a logarithmic axis
SQUARE = 3.4  # inches high: with the margins, axes from 0 to 1 both ways come out square
LINES = ("solid", "dashed", "dotted")


def training_curves(run: LabelledRun, entries: Sequence[Entry]) -> list[Figure]:
    """Loss with its objectives, their weights, learning rate, selection metric; empty for a run of one epoch."""
    history = run.history
    if len(history) < 2:
        return []
    objectives = [name.removeprefix("loss/") for name in history.columns if name.startswith("loss/")]
    losses = {"total": history["loss"]}
    if len(objectives) > 1:
        losses |= {name: history[f"loss/{name}"] for name in objectives}
    figures = [_curves(run, "Training loss", losses, log=_spans(losses))]
    weights = {name: history[f"weight/{name}"] for name in objectives if f"weight/{name}" in history.columns}
    if len(weights) > 1 or any(values.nunique() > 1 for values in weights.values()):
        figures.append(_curves(run, "Weights of the objectives", weights, first_shade=1))  # 0 is the total's
    figures.append(_curves(run, "Learning rate", {"": history["lr"]}))
    return [*figures, *_progress(run, entries)]


def roc_curves(entries: Sequence[Entry], words: Mapping[str, str]) -> list[Figure]:
    """One panel per class, one line per network: the class against the rest, on the test part.

    Args:
        words: class code → full words, in the order of the panels.
    """
    return [roc_panel([roc_curve_of(entry, code) for entry in entries], name) for code, name in words.items()]


def reliability_diagrams(entries: Sequence[Entry]) -> list[Figure]:
    """Accuracy against confidence of the predicted class in equal bins; below, how many cases each bin holds."""
    return [_reliability(entry) for entry in entries]


def headline_against_cost(entries: Sequence[Entry]) -> list[Figure]:
    """The headline metric over FLOPs and over latency, of the networks that were measured."""
    words = METRICS[TASKS[entries[0].run.task].headline].label
    title = words[0].upper() + words[1:]
    panels = {
        f"{title} against FLOPs": ("FLOPs of one image", lambda cost: cost.get("flops")),
        f"{title} against latency": (
            "median ms of one image",
            lambda cost: (cost.get("latency_ms") or {}).get("median"),
        ),
    }
    figures = []
    for title, (label, value_of) in panels.items():
        points = [(value_of(entry.result.cost or {}), entry) for entry in entries]
        points = [(value, entry) for value, entry in points if value]
        if points:
            figures.append(_cost(title, label, words, points))
    return figures


def _curves(
    run: LabelledRun, title: str, curves: dict[str, pd.Series], *, log: bool = False, first_shade: int = 0
) -> Figure:
    legend = []
    with sketch(f"{title} of {run.label} over the epochs", "epoch") as drawing:
        for index, (name, values) in enumerate(curves.items(), first_shade):
            shade, line = index % len(SHADES), LINES[index // len(SHADES) % len(LINES)]
            _over_epochs(drawing.axes, run, values, SHADES[shade], line)
            legend.append(Mark(f"--o{shade + 1}", name, line))
        if log:
            drawing.axes.set_yscale("log")
            plain_powers(drawing.axes.yaxis)
        else:
            drawing.axes.set_ylim(bottom=min(0.0, *(float(values.min()) for values in curves.values())))
        _epoch_axis(drawing.axes, run)
    return Figure(drawing.svg, title, "logarithmic" if log else "", legend if len(curves) > 1 else [])


def _progress(run: LabelledRun, entries: Sequence[Entry]) -> list[Figure]:
    metric, part = run.curve_metric, run.curve_part
    drawn = [entry for entry in entries if f"{part}/{entry.name}/{metric}" in run.history.columns]
    if not drawn:
        return []
    title = METRICS[metric].label[0].upper() + METRICS[metric].label[1:]
    with sketch(f"{title} of {run.label} on the {part} part over the epochs", "epoch") as drawing:
        for entry in drawn:
            values = run.history[f"{part}/{entry.name}/{metric}"]
            _over_epochs(drawing.axes, run, values, SERIES[entry.colour - 1], "solid")
        if (selected := run.metrics.selected_epoch) and not run.paper_protocol:
            drawing.axes.axvline(selected, color=FAINT, linewidth=1, linestyle=(0, (2, 2)))
        _epoch_axis(drawing.axes, run)
    note = f"{part} part" if run.paper_protocol or not selected else f"{part} part; dashed: epoch {selected}"
    legend = [Mark(f"--c{entry.colour}", entry.name) for entry in drawn] if len(drawn) > 1 else []
    return [Figure(drawing.svg, title, note, legend)]


def _over_epochs(axes: Axes, run: LabelledRun, values: pd.Series, colour: str, line: str) -> None:
    known = values.notna()
    marker = "o" if known.sum() == 1 else ""  # a line of one point is invisible
    axes.plot(run.history.loc[known, "epoch"], values[known], color=colour, linestyle=line, marker=marker, markersize=4)


def _epoch_axis(axes: Axes, run: LabelledRun) -> None:
    if axes.get_yscale() == "linear":
        axes.yaxis.set_major_formatter(FuncFormatter(short))
    axes.set_xlim(1, max(int(run.history["epoch"].max()), 2))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _spans(curves: dict[str, pd.Series]) -> bool:
    values = pd.concat(list(curves.values())).dropna()
    return bool(len(values) and values.min() > 0 and values.max() / values.min() > LOG_FROM)


@dataclass(frozen=True)
class RocCurve:
    """ROC curve of a class against the rest on the test part, its points as whole numbers of images.

    Attributes:
        entry: the network that it is of.
        cases, others: images of the class, and all others.
        called_others, called_cases: (K,) how many of them have at least the score of each point; empty where either
            is missing.
    """

    entry: Entry
    cases: int
    others: int
    called_others: NDArray[np.unsignedinteger]
    called_cases: NDArray[np.unsignedinteger]


def roc_curve_of(entry: Entry, code: str) -> RocCurve:
    """Return a network's curve of the class ``code``."""
    table = entry.predictions
    is_class = (table["target"] == code).to_numpy()
    cases, others = int(is_class.sum()), int((~is_class).sum())
    points: list[NDArray[Any]] = [np.zeros(0, np.uint8)] * 2
    if cases and others:
        wrong, right, _ = roc_curve(is_class, table[PREFIX + code])
        points = [
            np.rint(rate * whole).astype(np.min_scalar_type(whole)) for rate, whole in ((wrong, others), (right, cases))
        ]
    return RocCurve(entry, cases, others, *points)


def roc_panel(curves: Sequence[RocCurve], name: str) -> Figure:
    """Draw the curves of all networks of one class, called ``name`` in full words."""
    areas: list[tuple[Entry, float]] = []
    sizes = set()
    description = f"ROC curves of {name} against the other classes"
    with sketch(description, "false positive rate", "true positive rate", height=SQUARE) as drawing:
        axes = drawing.axes
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1)
        for curve in curves:
            entry = curve.entry
            sizes.add(f"{curve.cases} of {curve.cases + curve.others}")
            if len(curve.called_cases):
                wrong, right = curve.called_others / curve.others, curve.called_cases / curve.cases
                axes.plot(wrong, right, color=SERIES[entry.colour - 1], linewidth=1.4, linestyle=entry.line)
                areas.append((entry, auc(wrong, right)))
        if len(areas) <= MOST_AREAS:
            for line, (entry, area) in enumerate(reversed(areas)):
                axes.text(0.97, 0.04 + 0.085 * line, f"{area:.3f}", color=SERIES[entry.colour - 1], ha="right")
            axes.text(0.97, 0.04 + 0.085 * len(areas), "AUC" if areas else "no case", color=FAINT, ha="right")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return Figure(drawing.svg, name, f"{' or '.join(sorted(sizes))} test images")


def reliability_bins(
    confidence: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Cases, mean confidence and accuracy of ``BINS`` equal intervals (low, high]; NaN where there is no case."""
    interval = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence)
    cases = np.bincount(interval, minlength=BINS)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(interval, weights=confidence, minlength=BINS) / cases
        accuracy = np.bincount(interval, weights=right, minlength=BINS) / cases
    return cases, mean, accuracy


def _reliability(entry: Entry) -> Figure:
    table = entry.predictions
    confidence = table[score_columns(entry.run.classes)].to_numpy().max(axis=1)
    cases, mean, accuracy = reliability_bins(confidence, (table["predicted"] == table["target"]).to_numpy())
    share, known = cases / cases.max(), cases > 0
    colour = SERIES[entry.colour - 1]
    with sketch(f"Reliability of {entry.label}", "confidence", "accuracy", height=SQUARE) as drawing:
        axes = drawing.axes
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1)
        axes.bar(np.arange(BINS) / BINS, 0.2 * share, 1 / BINS, align="edge", color=colour, alpha=0.18)
        axes.plot(mean[known], accuracy[known], color=colour, linewidth=1, alpha=0.6)
        # The area of a dot is its share of the images: a lone image far off the diagonal is no alarm.
        axes.scatter(mean[known], accuracy[known], s=6 + 54 * share[known], color=colour, linewidths=0)
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
    error = entry.test.get("calibration_error")
    return Figure(drawing.svg, entry.label, "" if error is None else f"calibration error {error:.3f}")


def plain_powers(axis: Axis) -> None:
    """Ticks at 1, 2 and 5 of each power of ten, written out: 200 M, not a power with an exponent."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: scaled(value)))
    axis.set_minor_formatter(NullFormatter())


def _cost(title: str, label: str, figure: str, points: Sequence[tuple[float, Entry]]) -> Figure:
    with sketch(title, label, figure) as drawing:
        axes = drawing.axes
        for value, entry in points:
            axes.plot(value, entry.headline, "o", color=SERIES[entry.colour - 1], markersize=7)
        axes.set_xscale("log")
        axes.set_xlim(min(value for value, _ in points) / 2, max(value for value, _ in points) * 2)
        plain_powers(axes.xaxis)
        axes.margins(y=0.2)
    return Figure(drawing.svg, title)
