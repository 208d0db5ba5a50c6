"""Sentences of a report that depend on the task: which way is better, what networks agree on, and small differences."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from preceptor.report.run_text import fidelities, findings, metrics_note
from preceptor.report.subgroups import subgroup_metrics
from preceptor.tasks import TASKS


def test_the_note_names_every_metric_of_which_less_is_better() -> None:
    note = metrics_note(TASKS["ordinal"], TASKS["ordinal"].metrics)
    lower = [metric.label for metric in TASKS["ordinal"].metrics.values() if not metric.higher_is_better]
    assert "mean grade error" in lower
    assert all(label in note for label in lower)
    assert "quadratic kappa" not in note.partition("except for")[2]


@pytest.mark.parametrize(("task", "metrics"), [
    ("classification", ("balanced_accuracy", "macro_auc")),
    ("ordinal", ("quadratic_kappa", "balanced_accuracy")),
])  # fmt: skip
def test_subgroups_are_compared_by_the_headline_first(task: str, metrics: tuple[str, ...]) -> None:
    assert subgroup_metrics(task) == metrics


@pytest.mark.parametrize(
    ("task", "cases"),
    [("classification", "of the test images,"), ("multi_label", "of the labels of the test images,"),
     ("segmentation", "of the pixels of the test images,")],
)  # fmt: skip
def test_agreement_is_counted_in_the_cases_of_the_task(task: str, cases: str) -> None:
    fidelity = {"to": "teacher", "agreement": 0.9, "kl": None}
    entry: Any = SimpleNamespace(test={"fidelity": fidelity}, run=SimpleNamespace(task=task))
    ((_, sentence),) = fidelities([entry])
    assert cases in sentence


@pytest.mark.parametrize(
    ("value", "place"), [(0.0004, "level with"), (-0.0004, "level with"), (-0.0021, "0.2 points below")]
)
def test_a_difference_that_rounds_to_nothing_is_called_level(value: float, place: str) -> None:
    run = SimpleNamespace(task="classification")
    difference: Any = SimpleNamespace(
        values={"balanced_accuracy": value}, of=SimpleNamespace(run=run), less=SimpleNamespace(kind="teacher")
    )
    ((_, sentence),) = findings([difference])
    assert sentence == f"is {place} its teacher"
