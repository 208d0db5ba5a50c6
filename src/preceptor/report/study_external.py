"""Whether a study's results carry over: each method on its own test parts and on the plan's other data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.resampling import Resampling, Sampled, interval, resample
from preceptor.evaluation.statistics import ALPHA
from preceptor.report.carried_over import own_rows, sentences
from preceptor.report.network_predictions import NOTHING, Estimate, estimate_of
from preceptor.report.out_of_distribution import OWN_SEED, area_of
from preceptor.report.study_results import Key, Line, StudyResults
from preceptor.runs.external import ExternalResult, read_external
from preceptor.tasks import TASKS, Task


@dataclass(frozen=True)
class CarriedLine:
    """One method here and there.

    Attributes:
        own, other: the headline metric, the mean over cells, with its 95 % interval.
        change: ``other`` less ``own``; not paired.
        own_gain, other_gain: less the baseline's, paired; nothing for the baseline. Intervals are corrected by
            Bonferroni for the number of methods.
        noticed: AUROC of the network's largest probability, own test part against the other data, the mean over cells
            with its 95 % interval; nothing for a task without one class per image.
    """

    entry: Line
    cells: int
    own: Estimate
    other: Estimate
    change: Estimate
    own_gain: Estimate
    other_gain: Estimate
    noticed: Estimate


@dataclass(frozen=True)
class StudyExternal:
    """One other data set: its name, the metric's label, what must be known of it, and the methods."""

    name: str
    metric: str
    sentences: list[str]
    lines: list[CarriedLine]


def external_sections(study: StudyResults) -> list[StudyExternal]:
    """Return a section for each other data set of the plan on which cells were measured."""
    sections = []
    for external in study.plan.external:
        measured = {run.path: read_external(run, external.title) for run in study.runs}
        results = {path: result for path, result in measured.items() if result is not None}
        hashes = {result.record.split_hash for result in results.values()}
        if len(hashes) == 1:
            sections.append(_section(study, external.title, results))
    return sections


def _section(study: StudyResults, name: str, results: Mapping[Path, ExternalResult]) -> StudyExternal:
    task = TASKS[study.task]
    first = next(iter(results.values()))
    lines = [line for line in study.lines if any(run.path in results for run in line.runs.values())]
    own_groups = np.concatenate([run.tested_groups for run in study.one_run_a_split])
    draws = Resampling(own_groups, seed=OWN_SEED), Resampling(first.images["group"])

    def measured(line: Line, keys: Sequence[Key]) -> tuple[Sampled, Sampled]:
        of_cells = {key: results[line.runs[key].path] for key in keys}
        here = [
            pd.concat([own_rows(of_cells[key], line.network) for key in keys if key[1] == seed], ignore_index=True)
            for seed in dict.fromkeys(seed for _, seed in keys)
        ]
        there = [_other_rows(result, line.network) for result in of_cells.values()]
        return _sampled(task, first, here, draws[0]), _sampled(task, first, there, draws[1])

    of_lines = {line.index: [key for key in sorted(line.runs) if line.runs[key].path in results] for line in lines}
    base = next((line for line in lines if line.row.name == study.baseline and line.is_first), None)
    methods = [line for line in lines if base is not None and line.is_first and line is not base]
    level = 1 - ALPHA / max(1, len(methods))
    by_image = study.some_run.paper_protocol
    rows = []
    for line in lines:
        here, there = measured(line, of_lines[line.index])
        gains = [NOTHING, NOTHING]
        if base is not None and line in methods:
            common = [key for key in of_lines[line.index] if key in of_lines[base.index]]
            if common:
                pairs = zip(measured(line, common), measured(base, common), strict=True)
                gains = [_gain(mine, theirs, level) for mine, theirs in pairs]
        own, other, change = (estimate_of(sampled) for sampled in (here, there, there - here))
        if by_image:  # its figures are means over epochs, and its test images are not independent of the training part
            own, change, gains = NOTHING, NOTHING, [NOTHING, gains[1]]
        cells = [results[line.runs[key].path] for key in of_lines[line.index]]
        noticed = _noticed(line, cells, draws)
        rows.append(CarriedLine(line, len(cells), own, other, change, gains[0], gains[1], noticed))
    notes = sentences([first])
    missing = sum(len(line.runs) - len(of_lines[line.index]) for line in lines)
    if by_image:
        notes.append("Under protocol: paper the own test part says nothing of other images, and is not shown here.")
    if missing:
        notes.append(f"{missing} cells have not been measured on {name} yet: the same preceptor study does.")
    return StudyExternal(name, METRICS[task.headline].label, notes, rows)


def _other_rows(result: ExternalResult, network: str) -> pd.DataFrame:
    table = result.predictions
    rows = table[(table["part"] == result.record.name) & (table["network"] == network)]
    return rows.assign(group=rows["id"].map(result.images.set_index("id")["group"]))


def _sampled(task: Task, first: ExternalResult, tables: Sequence[pd.DataFrame], draws: Resampling) -> Sampled:
    headline = {task.headline: METRICS[task.headline]}
    cases = [(task.metric_cases(rows, first.record.classes), rows["group"]) for rows in tables]
    return resample(headline, cases, draws)[task.headline]


def _noticed(line: Line, cells: Sequence[ExternalResult], draws: tuple[Resampling, Resampling]) -> Estimate:
    areas = [area_of(cell, line.network, draws) for cell in cells]
    known = [area for area in areas if area is not None]
    if len(known) < len(areas):
        return NOTHING
    value, samples = (np.mean([getattr(area, name) for area in known], axis=0) for name in ("value", "samples"))
    return estimate_of(Sampled(float(value), samples))


def _gain(mine: Sampled, theirs: Sampled, level: float) -> Estimate:
    gain = mine - theirs
    return Estimate(gain.value, interval(gain.samples, level)) if np.isfinite(gain.samples).any() else NOTHING
