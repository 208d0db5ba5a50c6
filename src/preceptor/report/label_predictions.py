"""Operating points of networks that predict several labels per image.

Each label is a test of its own, on the images in which it is known: its predictions are handed on as those of a network
with two classes, no and yes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluation.calibration import determined_temperature, log_probabilities
from preceptor.evaluation.resampling import Resampling, shared_resampling
from preceptor.evaluation.score_columns import PREFIX
from preceptor.report.entries import Entry
from preceptor.report.network_predictions import (
    NetworkPredictions,
    Predictions,
    class_words,
    group_of_each,
)
from preceptor.report.operating_points import PositiveClass, positive_class

YES = 1  # its index beside no


def label_positives(entries: Sequence[Entry]) -> list[PositiveClass]:
    """Return the operating points of every label; none without a validation part.

    Args:
        entries: networks of runs with the same labels.
    """
    run = entries[0].run
    words = class_words(run)
    of_entries = [label_networks(entry, run.classes, shared_resampling(_groups(entry))) for entry in entries]
    sections = []
    for name, candidates in zip(run.classes, zip(*of_entries, strict=True), strict=True):
        networks = [network for network in candidates if network is not None]
        if networks:
            sections.append(positive_class(networks, words[name], [], [YES], curve=all(map(_has_both, networks))))
    return sections


@dataclass(frozen=True)
class LabelNetwork(NetworkPredictions):
    """A network as one that predicts a single label. All of its labels share one temperature, as in an export."""

    shared_temperature: float | None

    @cached_property
    def temperature(self) -> float | None:
        return self.shared_temperature


def label_networks(entry: Entry, labels: Sequence[str], resampling: Resampling) -> list[LabelNetwork | None]:
    """Return a network once for each label, as one that predicts it alone; None without a validation part.

    Args:
        resampling: of (at least) the groups of its test part.
    """
    validation, test = (
        [label_predictions_on(entry, label, part) for label in labels] for part in ("validation", "test")
    )
    temperature = _temperature([part for part in validation if part is not None])
    return [
        None if chosen is None or tested is None else LabelNetwork(entry, chosen, tested, resampling, temperature)
        for chosen, tested in zip(validation, test, strict=True)
    ]


def _temperature(labels: Sequence[Predictions]) -> float | None:
    """Fit one temperature to every known label of a validation part; None where they do not determine it."""
    if not any(len(part.targets) for part in labels):
        return None
    logits = log_probabilities(np.concatenate([part.probabilities for part in labels]))
    return determined_temperature(logits, np.concatenate([part.targets for part in labels]))


def label_predictions_on(entry: Entry, label: str, part: str) -> Predictions | None:
    """Return what a network predicted of a label on the images of a part in which it is known.

    Returns:
        Class 1 where an image has the label, with probabilities (N, 2) of no and yes; None without the part.
    """
    table = entry.run.predictions
    rows = table[(table["network"] == entry.name) & (table["part"] == part)]
    if rows.empty:
        return None
    rows = rows[rows[f"t_{label}"].notna()]
    yes = rows[PREFIX + label].to_numpy(np.float64)
    return Predictions(
        ids=rows["id"].to_numpy(str),
        targets=rows[f"t_{label}"].to_numpy(np.float64).astype(np.int64),
        probabilities=np.stack([1 - yes, yes], axis=1),
        groups=group_of_each(entry, rows["id"]),
    )


def _groups(entry: Entry) -> NDArray[np.str_]:
    return group_of_each(entry, entry.predictions["id"])


def _has_both(network: NetworkPredictions) -> bool:
    """Whether both parts have images with and without the label, as a decision curve needs."""
    assert network.validation is not None
    return all(set(part.targets) == {0, 1} for part in (network.validation, network.test))
