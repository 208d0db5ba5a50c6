"""Operating points of each class or label against the rest, and what acting on them is worth (decision curves)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from preceptor.evaluation.decision_curve import decision_curve
from preceptor.evaluation.detection import ranking_metrics, threshold_metrics
from preceptor.evaluation.operating_points import (
    positive_score,
    threshold_at_sensitivity,
    threshold_at_specificity,
)
from preceptor.report.canvas import RULE, SERIES, Figure, sketch
from preceptor.report.network_predictions import NOTHING, Estimate, Judged, NetworkPredictions, class_words

#: Rate that a threshold must reach on the validation part, and the other rate, which is then read off the test part.
POINTS = (
    ("specificity", 0.90, "sensitivity"),
    ("specificity", 0.95, "sensitivity"),
    ("sensitivity", 0.90, "specificity"),
    ("sensitivity", 0.95, "specificity"),
)
THRESHOLDS = np.linspace(0.01, 0.99, 99)


@dataclass(frozen=True)
class Point:
    """One operating point on the test part.

    Attributes:
        threshold: chosen on the validation part; None where that has no positive or no negative image.
        value: the rate that was read off.
        reached: the rate that the threshold was chosen for, as the test part has it.
    """

    threshold: float | None
    value: Estimate
    reached: Estimate


#: Network, AUC, AUC above 80 % sensitivity and the points of :data:`POINTS`.
Row = tuple[Judged, Estimate, Estimate, list[Point]]


@dataclass(frozen=True)
class PositiveClass:
    """One class, or group of classes, against all others; or one label.

    Attributes:
        name: in full words.
        members: in full words, where they are several.
        validation, test: numbers of positive images of each part, several where runs have different parts.
        rows: one per network.
        curve: decision curves; None in a study, or where a part lacks positives or negatives.
    """

    name: str
    members: list[str]
    validation: list[int]
    test: list[int]
    rows: Sequence[Row]
    curve: Figure | None


def positive_classes(
    networks: Sequence[NetworkPredictions], groups: Mapping[str, Sequence[str]]
) -> list[PositiveClass]:
    """Return operating points of some groups of classes, then of each class; none without a validation part.

    Args:
        networks: of runs with the same classes.
        groups: name → class codes that count as positive.
    """
    judged = [network for network in networks if network.validation is not None]
    if not judged:
        return []
    run = judged[0].entry.run
    words = class_words(run)
    wanted = {name: list(members) for name, members in groups.items()}
    wanted |= {words[code]: [code] for code in run.classes}
    return [
        positive_class(
            judged,
            name,
            [words[code] for code in members] if len(members) > 1 else [],
            [run.classes.index(code) for code in members],
        )
        for name, members in wanted.items()
    ]


def positive_class(
    networks: Sequence[NetworkPredictions],
    name: str,
    members: list[str],
    positive: Sequence[int],
    *,
    curve: bool = True,
) -> PositiveClass:
    """Return the operating points of networks with a validation part for class indices ``positive``.

    Args:
        name, members: in full words (:class:`PositiveClass`).
        curve: whether to draw decision curves.
    """
    counts = {
        part: sorted({int(np.isin(getattr(network, part).targets, positive).sum()) for network in networks})
        for part in ("validation", "test")
    }
    return PositiveClass(
        name=name,
        members=members,
        rows=point_rows(networks, positive),
        curve=_curve(networks, name, positive) if curve else None,
        **counts,
    )


def point_rows(networks: Sequence[NetworkPredictions], positive: Sequence[int]) -> list[Row]:
    """Return areas and operating points of networks with a validation part, for class indices ``positive``."""
    return [_row(network, positive) for network in networks]


def _row(network: NetworkPredictions, positive: Sequence[int]) -> Row:
    thresholds = [chosen_threshold(network, positive, rate, target) for rate, target, _ in POINTS]
    chosen = {f"at point {place}": value for place, value in enumerate(thresholds) if value is not None}
    estimates = network.estimates({**ranking_metrics(positive), **threshold_metrics(positive, chosen)})
    points = []
    for place, (rate, _, other) in enumerate(POINTS):
        read, reached = (estimates.get(f"{name} at point {place}", NOTHING) for name in (other, rate))
        points.append(Point(thresholds[place], read, reached))
    return network, estimates["auc"], estimates["partial_auc"], points


def chosen_threshold(network: NetworkPredictions, positive: Sequence[int], rate: str, target: float) -> float | None:
    """Return the threshold that reaches a rate on the validation part; None without a positive or a negative there."""
    assert network.validation is not None
    truth = np.isin(network.validation.targets, positive)
    if truth.all() or not truth.any():
        return None
    choose = threshold_at_specificity if rate == "specificity" else threshold_at_sensitivity
    return choose(truth, positive_score(network.validation.probabilities, positive), target)


def _curve(networks: Sequence[NetworkPredictions], name: str, positive: Sequence[int]) -> Figure:
    description = f"Net benefit of acting on {name} over the threshold probability"
    highest = 0.0
    with sketch(description, "threshold probability", "net benefit") as drawing:
        axes = drawing.axes
        for network in networks:
            truth = np.isin(network.test.targets, positive)
            scores = np.clip(positive_score(network.calibrated, positive), 0, 1)
            curve = decision_curve(truth, scores, THRESHOLDS)
            colour, line = SERIES[network.entry.colour - 1], network.entry.line
            axes.plot(curve.thresholds, curve.treat_all, color=RULE, linewidth=1.2, linestyle="dashed")
            axes.plot(curve.thresholds, curve.model, color=colour, linestyle=line, linewidth=1.4)
            highest = max(highest, float(truth.mean()))
        axes.axhline(0, color=RULE, linewidth=1.2)
        axes.set(xlim=(0, 1), ylim=(-0.25 * highest, 1.1 * highest or 1))
    return Figure(drawing.svg, name)
