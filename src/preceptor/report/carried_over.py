"""Whether results carry over: each network, and what distillation gains, on the own test part and on other data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.resampling import Sampled, resample, shared_resampling
from preceptor.report.entries import Entry
from preceptor.report.formatting import counted, listed
from preceptor.report.network_predictions import NOTHING, Estimate, estimate_of
from preceptor.report.out_of_distribution import OWN_SEED, Separation, separations
from preceptor.report.tables import Difference, sampled_headline
from preceptor.runs.external import ExternalResult
from preceptor.tasks import TASKS


@dataclass(frozen=True)
class Carried:
    """A figure on the run's own test part and on another data set, and how much it changes.

    Attributes:
        label: of the network, or of the pair that is subtracted.
        colour: of the network.
        own, other: value and 95 % interval on each.
        change: ``other`` less ``own``; the images are different ones, so it is not paired.
    """

    label: str
    colour: int
    own: Estimate
    other: Estimate
    change: Estimate


@dataclass(frozen=True)
class CarriedOver:
    """The section of a report on another data set.

    Attributes:
        name: of the other data.
        metric: label of the headline metric.
        networks: each network.
        gains: each distilled student minus the same network trained alone, or minus its teacher.
        sentences: which classes and images the comparison is about.
        separations: how well each network's confidence tells the own test part from the other data.
    """

    name: str
    metric: str
    networks: list[Carried]
    gains: list[Carried]
    sentences: list[str]
    separations: list[Separation]


def carried_over(
    results: Sequence[ExternalResult], entries: Sequence[Entry], differences: Sequence[Difference]
) -> CarriedOver:
    """Compare the headline metric of networks on their own test part and on other data.

    Args:
        results: of all runs, on one other data set.
        entries: of those runs on the other data (:func:`preceptor.report.external_report.external_run`).
        differences: between such entries.
    """
    first = results[0].record
    by_path = {result.run.path: result for result in results}
    own = {entry.index: _own(entry, by_path[entry.run.path]) for entry in entries}
    for pair in differences:
        for entry in (pair.of, pair.less):
            own.setdefault(entry.index, _own(entry, by_path[entry.run.path]))
    networks = [_carried(entry.label, entry.colour, own[entry.index], sampled_headline(entry)) for entry in entries]
    gains = []
    for pair in differences:
        kind = "trained alone" if pair.less.kind == "alone" else "its teacher"
        mine, theirs = own[pair.of.index], own[pair.less.index]
        splits = [by_path[entry.run.path].run.environment.split_hash for entry in (pair.of, pair.less)]
        here = mine - theirs if mine and theirs and splits[0] == splits[1] else None
        there = sampled_headline(pair.of) - sampled_headline(pair.less)
        gains.append(_carried(f"{pair.of.label} minus {pair.less.label} ({kind})", pair.of.colour, here, there))
    label = METRICS[TASKS[first.task].headline].label
    return CarriedOver(first.name, label, networks, gains, sentences(results), separations(entries, results))


def sentences(results: Sequence[ExternalResult]) -> list[str]:
    """Return what a reader must know of the other data: classes, images left out, what could not be compared."""
    record, images = results[0].record, results[0].images
    lines = [f"{counted(len(images), 'image')} of {record.data.name}, {counted(images['group'].nunique(), 'group')}."]
    renamed = [f"{name} as {judged}" for name, judged in record.class_map.items() if judged and judged != name]
    merged = [name for name in record.classes if sum(judged == name for judged in record.judged_as.values()) > 1]
    if renamed:
        lines.append(f"Classes: {listed(renamed)}.")
    for name in merged:
        members = [own for own, judged in record.judged_as.items() if judged == name]
        lines.append(f"{name} stands for {listed(members)}: their probabilities are added.")
    absent = [name for name in record.classes if record.judged_as and name not in set(images["label"])]
    if absent and TASKS[record.task].target == "class":
        lines.append(
            f"There is no image of {listed(absent)}: means run over the other classes, on the own test part too, and "
            "a prediction of such a class is an error."
        )
    left = {
        "of a class without a counterpart": record.unmapped,
        "that a network has learned from or was selected by": record.known,
        "without a label": record.unlabelled,
    }
    lines += [f"Left out: {counted(number, 'image')} {why}." for why, number in left.items() if number]
    return lines + [f"{note[:1].upper()}{note[1:]}." for note in record.notes]


def _own(entry: Entry, result: ExternalResult) -> Sampled | None:
    """The headline metric on the own test part, None under ``protocol: paper``."""
    if result.run.metrics.protocol == "paper":
        return None  # its figures are means over epochs, and its test images are not independent of the training part
    rows = own_rows(result, entry.name)
    if rows.empty:
        return None
    task = TASKS[result.record.task]
    cases = task.metric_cases(rows, result.record.classes)
    draws = shared_resampling(rows["group"], OWN_SEED)
    return resample({task.headline: METRICS[task.headline]}, [(cases, rows["group"])], draws)[task.headline]


def own_rows(result: ExternalResult, network: str) -> pd.DataFrame:
    """Return a network's rows of the own test part, with ``group``, in judged classes that occur in the other data."""
    record, table = result.record, result.run.predictions
    rows = table[(table["part"] == "test") & (table["network"] == network)]
    task = TASKS[record.task]
    if task.target == "class" and result.class_map is not None:
        rows = result.class_map.rows(rows)
        rows = rows[rows["target"].isin(set(result.images["label"]))]
    if task.target == "labels":
        known = [name for name in record.classes if name in set(record.class_map.values())]
        rows = rows.assign(**{f"t_{name}": np.nan for name in record.classes if name not in known})
    return rows.assign(group=rows["id"].map(result.run.split.set_index("id")["group"]))


def _carried(label: str, colour: int, own: Sampled | None, other: Sampled) -> Carried:
    change = NOTHING if own is None else estimate_of(other - own)
    return Carried(label, colour, NOTHING if own is None else estimate_of(own), estimate_of(other), change)
