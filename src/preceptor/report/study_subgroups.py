"""A study's results by attribute (sex, age, site …), each student beside its teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from preceptor.evaluation.attributes import banded
from preceptor.evaluation.metrics import METRICS
from preceptor.evaluation.statistics import ALPHA
from preceptor.evaluation.subgroups import FEW, subgroups_of_folds
from preceptor.report.network_cells import NetworkCells
from preceptor.report.network_predictions import Judged
from preceptor.report.study_cells import teacher_of
from preceptor.report.study_results import StudyResults
from preceptor.report.subgroups import (
    MOST,
    Attribute,
    NetworkInSubgroup,
    Results,
    Value,
    attributes_of,
    row_of,
    subgroup_metrics,
)


@dataclass(frozen=True)
class AttributeOfImages:
    """One attribute of the test images of a study.

    Attributes:
        of_image: id → value, empty where it is not known.
        sizes: value → test images and their groups.
        metrics: keys of those that are shown.
        level: of the intervals of what a student's gap has on its teacher's, corrected by Bonferroni for the number of
            students.
    """

    name: str
    of_image: Mapping[str, str]
    sizes: Mapping[str, tuple[int, int]]
    metrics: tuple[str, ...]
    level: float

    def rows(self, method: Judged, cells: NetworkCells, teacher: NetworkCells | None) -> dict[str, NetworkInSubgroup]:
        """Return the results of a method at each value that has enough images."""
        results = self._results(cells)
        of_teacher = None if teacher is None else self._results(teacher)
        shown = [value for value, (images, _) in self.sizes.items() if images >= FEW]
        return {value: row_of(method, results, of_teacher, value, self.level) for value in shown}

    def section(self, methods: Sequence[Judged], rows: Sequence[Mapping[str, NetworkInSubgroup]]) -> Attribute:
        """Return the section on all methods, with the rows of each."""
        values = [
            Value(value, images, groups, [each[value] for each in rows if value in each])
            for value, (images, groups) in self.sizes.items()
        ]
        unknown = sum(value == "" for value in self.of_image.values())
        return Attribute(self.name.replace("_", " "), self.metrics, list(methods), values, unknown)

    def _results(self, cells: NetworkCells) -> Results:
        """Return metrics by value, of the test parts of all folds and seeds together; areas are within folds."""
        tests = [cell.test for cell in cells.cells.values()]
        folds = [
            ((test.targets, test.probabilities), test.groups, [self.of_image[name] for name in test.ids])
            for test in tests
        ]
        return [subgroups_of_folds(METRICS[key], folds, cells.resampling) for key in self.metrics]


def attributes_of_images(study: StudyResults) -> list[AttributeOfImages]:
    """Return every attribute of the runs' splits that has two values or more, and not too many."""
    splits = [run.split for run in study.one_run_a_split]
    tested = pd.concat([split[split["part"] == "test"] for split in splits]).drop_duplicates("id")
    students = sum(teacher_of(line) is not None for line in study.lines)
    result = []
    for name in (name for name in attributes_of(study.some_run) if name in tested):
        values, names = banded(tested[name])
        if 2 <= len(names) <= MOST:
            sizes = {
                value: (int((values == value).sum()), int(tested["group"][values == value].nunique()))
                for value in names
            }
            of_image = dict(zip(tested["id"], values, strict=True))
            result.append(
                AttributeOfImages(name, of_image, sizes, subgroup_metrics(study.task), 1 - ALPHA / max(1, students))
            )
    return result
