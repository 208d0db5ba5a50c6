"""Whether networks notice that images are from elsewhere: the own test part against another data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from preceptor.evaluation.resampling import SEED, Resampling, Sampled, shared_resampling
from preceptor.evaluation.score_columns import score_columns
from preceptor.evaluation.separation import separation
from preceptor.report.entries import Entry
from preceptor.report.formatting import ratio
from preceptor.report.network_predictions import Estimate, estimate_of
from preceptor.runs.external import ExternalResult
from preceptor.tasks import TASKS

OWN_SEED = SEED + 1  # of draws of the own patients, which are independent of those of the other data


@dataclass(frozen=True)
class Separation:
    """One network.

    Attributes:
        label, colour: of the network.
        area: AUROC of the largest probability, own test part against the other data, with its 95 % interval.
    """

    label: str
    colour: int
    area: Estimate


def separations(entries: Sequence[Entry], results: Sequence[ExternalResult]) -> list[Separation]:
    """Return the AUROC of every network that predicts one class per image and was tested on images it never learned.

    Args:
        entries: networks of the runs on the other data (:func:`preceptor.report.external_report.external_run`).
        results: of these runs.
    """
    by_path = {result.run.path: result for result in results}
    areas = [(entry, _area(by_path[entry.run.path], entry.name)) for entry in entries]
    return [Separation(entry.label, entry.colour, area) for entry, area in areas if area is not None]


def separation_sentences(results: Sequence[ExternalResult], names: Sequence[str]) -> list[str]:
    """Return a sentence on every network, for the command line.

    Args:
        names: of the runs, where there are several.
    """
    sentences = []
    for result, run in zip(results, names, strict=True):
        for network in result.metrics:
            area = _area(result, network)
            if area is not None and area.interval is not None:
                name = f"{run}/{network}" if len(results) > 1 else network
                bounds = f"{ratio(area.interval.low)} to {ratio(area.interval.high)}"
                sentences.append(
                    f"{name}: its largest probability tells its own test part from {result.record.name} with an AUROC "
                    f"of {ratio(area.value)} ({bounds}); 0.5 is guessing."
                )
    return sentences


def _area(result: ExternalResult, network: str) -> Estimate | None:
    area = area_of(result, network)
    return None if area is None else estimate_of(area)


def area_of(
    result: ExternalResult, network: str, resamplings: tuple[Resampling, Resampling] | None = None
) -> Sampled | None:
    """Return the AUROC of one network; None for another task, and under ``protocol: paper``.

    Args:
        resamplings: of (at least) the groups of the own test part, and of those of the other data; unless given, of
            these alone.
    """
    record, run = result.record, result.run
    if TASKS[record.task].target != "class" or run.metrics.protocol == "paper":
        return None
    own, foreign = _rows(run.predictions, network, "test"), _rows(result.predictions, network, record.name)
    if own.empty or foreign.empty:
        return None
    own = own if result.class_map is None else result.class_map.rows(own)
    own_groups, groups = (
        table["id"].map(split.set_index("id")["group"]).to_numpy(str)
        for table, split in ((own, run.split), (foreign, result.images))
    )
    scores, others = (table[score_columns(record.classes)].to_numpy(np.float64).max(axis=1) for table in (own, foreign))
    draws = resamplings or (shared_resampling(own_groups, OWN_SEED), shared_resampling(groups))
    return separation(scores, others, own_groups, groups, draws)


def _rows(table: pd.DataFrame, network: str, part: str) -> pd.DataFrame:
    return table[(table["network"] == network) & (table["part"] == part)]
