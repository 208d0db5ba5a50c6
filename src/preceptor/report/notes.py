"""Remarks that stand before any result: on the data, and on networks that learnt nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def useless_networks(entries: Sequence[Entry], intervals: Mapping[int, Interval]) -> list[tuple[str, str]]:
    """A warning on each network that predicts one class for everything or is no better than chance.

    Args:
        intervals: of the task's headline metric, by the entry's index.

    Returns:
        One (heading, sentences) pair at most.
    """
    sentences = [sentence for entry in entries if (sentence := _useless(entry, intervals.get(entry.index)))]
    return [("Networks that learnt nothing", " ".join(sentences))] if sentences else []


def _useless(entry: Entry, interval: Interval | None) -> str:
    rows = entry.predictions
    if TASKS[entry.run.task].needs_masks:
        targets, predicted = rows["target_pixels"].astype(float), rows["predicted_pixels"].astype(float)
        if targets.any() and not predicted.any():
            return f"{entry.label} predicts an empty mask for every test image."
        return ""
    if TASKS[entry.run.task].target != "class":
        return ""
    classes = rows["predicted"].unique()
    if len(classes) == 1 and rows["target"].nunique() > 1:
        return f"{entry.label} predicts {classes[0]} for every test image."
    chance = 1 / max(rows["target"].nunique(), 1)
    value = entry.test.get("balanced_accuracy")
    judged = TASKS[entry.run.task].headline == "balanced_accuracy"
    if judged and value is not None and interval is not None and interval.low <= chance < 1 and value < 2 * chance:
        return (
            f"{entry.label} is not shown to be better than chance: balanced accuracy {ratio(value)} "
            f"(95 % CI {ratio(interval.low)} to {ratio(interval.high)}), chance is {ratio(chance)}."
        )
    return ""
