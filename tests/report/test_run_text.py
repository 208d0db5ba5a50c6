"""Sentences of a report that depend on the task: which way is better, what networks agree on, and small differences."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from preceptor.recipes.resolve import resolve
from preceptor.report.run_text import epoch_choice, fidelities, findings, metrics_note
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


@pytest.mark.parametrize(
    ("recipe", "figures", "words"),
    [
        ({}, {"selected_epoch": 5}, "Epoch 5 was selected by validation/student/balanced_accuracy."),
        (
            {"select.metric": "last"},
            {"selected_epoch": 6},
            "No epoch was selected: the results are those of the last, 6.",
        ),
        (
            {"select.epoch": "each"},
            {"selected_epoch": None},
            "Each network has the epoch that is its own best by validation/balanced_accuracy: student 4.",
        ),
        (
            {"protocol": "paper"},
            {"selected_epoch": None, "selected_by": None, "mean_of_last_epochs": 6},
            "No epoch was selected: the results are the mean of the last 6 on the test part.",
        ),
    ],
)
def test_the_epoch_of_the_results_and_why(recipe: dict[str, str], figures: dict[str, object], words: str) -> None:
    resolved = resolve("student", recipe)
    of_network = SimpleNamespace(selected_epoch=4 if resolved.select.epoch == "each" else None)
    metrics = {
        "selected_by": f"validation/student/{resolved.select.metric}",
        "mean_of_last_epochs": None,
        "networks": {"student": of_network},
    }
    run: Any = SimpleNamespace(
        recipe=resolved, metrics=SimpleNamespace(**metrics | figures), paper_protocol=resolved.protocol == "paper"
    )
    assert epoch_choice(run) == words
