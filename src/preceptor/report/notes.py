"""Remarks shown before any result: on the data, and on networks that learnt nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from preceptor.evaluation.resampling import Interval
from preceptor.report.entries import Entry, LabelledRun
from preceptor.report.formatting import count, ratio
from preceptor.tasks import TASKS

EXAMPLES = 5  # ids that are named; the rest is folded


@dataclass(frozen=True)
class Note:
    """A remark on the data.

    Attributes:
        text: one sentence, with a few examples where ids are listed.
        folded: further ids, shown on demand.
        labels: of the runs that it is about; none where it is about all.
    """

    text: str
    folded: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def data_notes(runs: Sequence[LabelledRun]) -> list[Note]:
    """What the reader of the data noted, which images were excluded, and how many masks were cut."""
    labels: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for run in runs:
        notes: list[tuple[str, tuple[str, ...]]] = [(note, ()) for note in run.environment.data.notes]
        if excluded := tuple(run.environment.data.excluded):
            text = f"{count(len(excluded))} images were left out by --exclude: {', '.join(excluded[:EXAMPLES])}"
            notes.append((text, excluded[EXAMPLES:]))
        if cut := run.metrics.masks_cut_at_half:
            text = f"{count(cut)} masks have grey values at the border (JPEG, smoothing) and were thresholded at half"
            notes.append((text, ()))
        for note in notes:
            labels.setdefault(note, []).append(run.label)
    return [Note(text, folded, () if len(of) == len(runs) else tuple(of)) for (text, folded), of in labels.items()]


@dataclass(frozen=True)
class Learnt:
    """Whether a network learnt anything.

    Attributes:
        label: the network's.
        constant: what it predicts for every test image, though not all are alike; empty where predictions vary.
        chance: the balanced accuracy of chance, where the network's is not shown to be better; else None.
        figure: its balanced accuracy in words, with the interval; empty without ``chance``.
    """

    label: str
    constant: str = ""
    chance: float | None = None
    figure: str = ""


def learnt(entry: Entry, interval: Interval | None) -> Learnt:
    """Judge a network by its test rows.

    Args:
        interval: of the task's headline metric.
    """
    if constant := _only_prediction(entry):
        return Learnt(entry.label, constant)
    chance = _chance_not_exceeded(entry, interval)
    if chance is None or interval is None:
        return Learnt(entry.label)
    figure = f"{ratio(entry.test['balanced_accuracy'])} (95 % CI {ratio(interval.low)} to {ratio(interval.high)})"
    return Learnt(entry.label, chance=chance, figure=figure)


def useless_networks(networks: Sequence[Learnt]) -> list[tuple[str, str]]:
    """A warning on networks that predict one class for everything or are no better than chance.

    Returns:
        One (heading, sentences) pair at most.
    """
    constant: dict[str, list[str]] = {}
    by_chance: dict[float, list[Learnt]] = {}
    for network in networks:
        if network.constant:
            constant.setdefault(network.constant, []).append(network.label)
        elif network.chance:
            by_chance.setdefault(network.chance, []).append(network)
    sentences = [
        f"{', '.join(labels)} {'predicts' if len(labels) == 1 else 'predict'} {predicted} for every test image."
        for predicted, labels in constant.items()
    ]
    sentences += [_at_chance(of, chance) for chance, of in by_chance.items()]
    return [("Networks that learnt nothing", " ".join(sentences))] if sentences else []


def _only_prediction(entry: Entry) -> str:
    """Return what a network predicts for every test image, though not all are alike; nothing where predictions vary."""
    rows = entry.predictions
    if TASKS[entry.run.task].needs_masks:
        targets, predicted = rows["target_pixels"].astype(float), rows["predicted_pixels"].astype(float)
        return "an empty mask" if targets.any() and not predicted.any() else ""
    if TASKS[entry.run.task].target != "class":
        return ""
    classes = rows["predicted"].unique()
    return str(classes[0]) if len(classes) == 1 and rows["target"].nunique() > 1 else ""


def _chance_not_exceeded(entry: Entry, interval: Interval | None) -> float | None:
    """Return the balanced accuracy of chance, where a network's is not shown to be better."""
    task, value = TASKS[entry.run.task], entry.test.get("balanced_accuracy")
    if task.headline != "balanced_accuracy" or task.target != "class" or value is None or interval is None:
        return None
    chance = 1 / max(entry.predictions["target"].nunique(), 1)
    return chance if interval.low <= chance < 1 and value < 2 * chance else None


def _at_chance(networks: Sequence[Learnt], chance: float) -> str:
    if len(networks) == 1:
        verdict = f"{networks[0].label} is not shown to be better than chance"
        return f"{verdict}: balanced accuracy {networks[0].figure}, chance is {ratio(chance)}."
    listed = "; ".join(f"{network.label} {network.figure}" for network in networks)
    return f"Not shown to be better than chance, a balanced accuracy of {ratio(chance)}: {listed}."
