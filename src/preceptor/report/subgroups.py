"""Results by attribute (sex, age, site …): whether a network serves one group of people worse than all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from preceptor.data.split import COLUMNS
from preceptor.evaluation.attributes import banded
from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.resampling import LEVEL, Interval
from preceptor.evaluation.subgroups import FEW, Subgroup, subgroups, widened
from preceptor.report.entries import LabelledRun
from preceptor.report.network_predictions import NOTHING, Estimate, Judged, NetworkPredictions
from preceptor.report.tables import TEACHING
from preceptor.tasks import TASKS

MOST = 20  # different values (HAM10000 has 15 body sites); an attribute of more names images rather than groups
Change = tuple[float, Interval]


@dataclass(frozen=True)
class NetworkInSubgroup:
    """Metrics of one network in the images of one value, and their gaps to all other images.

    Attributes:
        values, gaps: of each metric of :func:`subgroup_metrics`.
        changes: how much larger each gap is than the teacher's; None for a teacher, or without one.
    """

    network: Judged
    values: list[Estimate]
    gaps: list[Estimate]
    changes: list[Change | None]


@dataclass(frozen=True)
class Value:
    """The test images of one value of an attribute; ``rows`` is empty where they are too few."""

    name: str
    images: int
    groups: int
    rows: list[NetworkInSubgroup]


@dataclass(frozen=True)
class Attribute:
    """One attribute of the test part.

    Attributes:
        metrics: keys of those that are shown.
        networks: that were tested on one test part.
        missing: test images without a value.
    """

    name: str
    metrics: tuple[str, ...]
    networks: Sequence[Judged]
    values: list[Value]
    missing: int

    @property
    def labels(self) -> list[str]:
        """The names of the metrics."""
        return [METRICS[key].label for key in self.metrics]


def attribute_sections(networks: Sequence[NetworkPredictions]) -> list[Attribute]:
    """Return results by every attribute of ``split.csv`` that has two values or more in the test part."""
    by_split: dict[str, list[NetworkPredictions]] = {}
    for network in networks:
        by_split.setdefault(network.entry.run.split_hash, []).append(network)
    sections = []
    for sharers in by_split.values():
        for name in attributes_of(sharers[0].entry.run):
            section = _section(name, sharers)
            if section is not None:
                sections.append(section)
    return sections


def attributes_of(run: LabelledRun) -> list[str]:
    """Return the names of the attributes in ``split.csv``."""
    return [name for name in run.split.columns if name not in COLUMNS]


def _section(name: str, networks: Sequence[NetworkPredictions]) -> Attribute | None:
    split = networks[0].entry.run.split
    tested = split[split["part"] == "test"]
    words, names = banded(tested[name])
    if not 2 <= len(names) <= MOST:
        return None
    by_id = dict(zip(tested["id"], words, strict=True))
    results = [_of_network(network, by_id) for network in networks]
    teachers = {
        network.entry.run.path: result
        for network, result in zip(networks, results, strict=True)
        if network.entry.kind in TEACHING
    }
    values = []
    for value in names:
        inside = words == value
        groups = tested["group"][inside].nunique()
        rows = [
            row_of(
                network, result, None if network.entry.kind in TEACHING else teachers.get(network.entry.run.path), value
            )
            for network, result in zip(networks, results, strict=True)
        ]
        values.append(Value(value, int(inside.sum()), int(groups), rows if inside.sum() >= FEW else []))
    shown = subgroup_metrics(networks[0].entry.run.task)
    return Attribute(name.replace("_", " "), shown, list(networks), values, int((words == "").sum()))


def subgroup_metrics(task: str) -> tuple[str, ...]:
    """Return the two metrics by which subgroups of a task are compared: its headline, then what tells most besides."""
    return tuple(dict.fromkeys((TASKS[task].headline, "balanced_accuracy", "macro_auc")))[:2]


Results = list[dict[str, Subgroup]]  # of each metric, by value


def _of_network(network: NetworkPredictions, words: dict[str, str]) -> Results:
    test = network.test
    attribute = np.array([words[name] for name in test.ids])
    cases = (test.targets, test.probabilities)
    shown = subgroup_metrics(network.entry.run.task)
    return [subgroups(METRICS[key], cases, test.groups, attribute, network.resampling) for key in shown]


def row_of(
    network: Judged, results: Results, teacher: Results | None, value: str, level: float = LEVEL
) -> NetworkInSubgroup:
    """Return a network's row at one value, beside its teacher's results if given; ``level`` is of the changes."""
    values = [result.get(value) for result in results]
    changes: list[Change | None] = [None] * len(results)
    if teacher is not None:
        changes = [widened(mine, theirs, level).get(value) for mine, theirs in zip(results, teacher, strict=True)]
    return NetworkInSubgroup(
        network,
        [NOTHING if each is None else Estimate(each.value, each.interval) for each in values],
        [NOTHING if each is None or each.gap is None else Estimate(each.gap, each.gap_interval) for each in values],
        changes,
    )
