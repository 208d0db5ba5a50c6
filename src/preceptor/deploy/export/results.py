"""The figures of an export's model card: with intervals, and by subgroup, from the run's own test predictions."""

from __future__ import annotations

import numpy as np

from preceptor.deploy.export.subject import Subject
from preceptor.deploy.manifest import Figure, SubgroupFigure
from preceptor.evaluation.resampling import Resampling, interval, resample
from preceptor.evaluation.subgroups import subgroups
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError

_MOST_VALUES = 20  # of an attribute that is broken down by; identifiers and free text have more


def headline_figures(subject: Subject) -> list[Figure]:
    """The task's resampled metrics on the test part, with 95 % intervals (bootstrap over groups)."""
    table, groups = subject.predictions("test"), _groups(subject)
    task = TASKS[subject.run.recipe.task]
    cases = task.metric_cases(table, subject.classes)
    sampled = resample(task.metrics, [(cases, groups)], Resampling(groups))
    figures = []
    for key, result in sampled.items():
        if np.isfinite(result.samples).any():
            bounds = interval(result.samples)
            figures.append(
                Figure(
                    key=key, label=task.metrics[key].label, value=result.value, low=bounds.low, high=bounds.high,
                    digits=task.metrics[key].digits,
                )
            )  # fmt: skip
    return sorted(figures, key=lambda figure: figure.key != task.headline)


def subgroup_figures(subject: Subject) -> tuple[list[SubgroupFigure], str]:
    """The headline metric by each attribute of the data, and why there is none where there is none.

    Attributes with more than twenty values are left out.
    """
    try:
        catalog = subject.run.catalog()
    except PreceptorError as error:
        return [], f"the run's data cannot be read ({error.what})"
    if not len(catalog.attributes.columns):
        return [], "the data have no attributes such as sex or age"
    table, groups = subject.predictions("test"), _groups(subject)
    task = TASKS[subject.run.recipe.task]
    metric, cases, resampling = (
        task.metrics[task.headline],
        task.metric_cases(table, subject.classes),
        Resampling(groups),
    )
    attributes = catalog.attributes.set_index(catalog.table["id"]).reindex(table["id"])
    rows = []
    for name in attributes.columns:
        values = attributes[name].fillna("").to_numpy(str)
        if not 2 <= len(set(values) - {""}) <= _MOST_VALUES:
            continue
        for value, subgroup in subgroups(metric, cases, groups, values, resampling).items():
            bounds = subgroup.interval
            rows.append(
                SubgroupFigure(
                    attribute=str(name), value=value, images=subgroup.images, figure=subgroup.value,
                    low=None if bounds is None else bounds.low, high=None if bounds is None else bounds.high,
                )
            )  # fmt: skip
    return rows, "" if rows else "no attribute of the data has between two and twenty values"


def _groups(subject: Subject) -> list[str]:
    """The group of each row of the test predictions."""
    groups = subject.run.split.set_index("id")["group"]
    return groups.reindex(subject.predictions("test")["id"]).astype(str).tolist()
