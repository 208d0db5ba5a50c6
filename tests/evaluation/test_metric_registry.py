"""The registry of metrics: what an entry must say, and values that stay as they are."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from preceptor.evaluation.classification import classification_metrics
from preceptor.evaluation.masks import MaskMeter
from preceptor.evaluation.metrics import METRICS, Metric, add_metric, metrics_of
from preceptor.evaluation.metrics.registry import metric_of
from preceptor.evaluation.pixel_counts import PixelCounts
from preceptor.utils.errors import PreceptorError


def test_registry_and_tasks_are_light() -> None:
    code = "import sys, preceptor.tasks as t; list(t.TASKS['segmentation'].metrics); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "sklearn", "scipy", "pandas"} & set(loaded)


def test_unknown_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(PreceptorError, match=r"classification has no metric 'acuracy'\. Did you mean 'accuracy'"):
        metric_of("classification", "acuracy")
    with pytest.raises(PreceptorError, match="no metric 'dice', it is of segmentation"):
        metric_of("classification", "dice")


@pytest.mark.parametrize(("key", "tasks"), [("two words", ("classification",)), ("fine", ()), ("accuracy", ("a",))])
def test_entries_that_cannot_be_registered(key: str, tasks: tuple[str, ...]) -> None:
    with pytest.raises(PreceptorError):
        add_metric(Metric(key, "a label", tasks, lambda *cases: 0.0))
    assert key == "accuracy" or key not in METRICS


def test_undefined_values_are_none() -> None:
    metric = Metric("undefined", "undefined", ("classification",), lambda *cases: float("nan"))
    assert metric(np.zeros(1), np.zeros((1, 2))) is None


@pytest.mark.parametrize("count", [40, 2000])
@pytest.mark.parametrize("classes", [2, 7, 12])
def test_values_are_scikit_learns_to_the_last_bit(count: int, classes: int) -> None:
    """Runs of before the registry keep their figures."""
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    draw = np.random.default_rng(count + classes)
    targets = draw.integers(0, classes - 1, count)  # the last class is absent
    scores = draw.dirichlet(np.ones(classes), size=count)
    predicted = scores.argmax(1)
    precision, recall, f1, _ = precision_recall_fscore_support(
        targets, predicted, labels=np.unique(targets), zero_division=0
    )
    metrics = metrics_of("classification")
    assert metrics["accuracy"](targets, scores) == float(accuracy_score(targets, predicted))
    for key, values in (("balanced_accuracy", recall), ("macro_precision", precision), ("macro_f1", f1)):
        assert metrics[key](targets, scores) == float(np.mean(values)), key


TARGETS, SCORES = np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]])


def test_a_metric_cannot_change_what_is_written_afterwards() -> None:
    def sorts(targets: np.ndarray, probabilities: np.ndarray) -> float:
        probabilities.sort(axis=0)
        return 1.0

    scores = SCORES.copy()
    with pytest.raises(PreceptorError, match=r"metric sorts: ValueError: .*read-only"):
        classification_metrics(TARGETS, scores, ("a", "b"), {"sorts": Metric("sorts", "s", ("classification",), sorts)})
    np.testing.assert_array_equal(scores, SCORES)
    assert scores.flags.writeable, "it is the caller's"


def test_a_metric_of_masks_cannot_change_what_is_written_afterwards() -> None:
    def of_counts(counts: PixelCounts) -> float:
        counts.truth[:] = 0
        return 1.0

    def of_image(target: np.ndarray, prediction: np.ndarray) -> float:
        prediction[:] = 0
        return 1.0

    of_masks = Metric("counted", "c", ("segmentation",), of_counts)
    meter = MaskMeter(("none", "lesion"), {"counted": of_masks})
    meter.update_arrays(np.ones((2, 2), dtype=int), np.ones((2, 2), dtype=int))
    with pytest.raises(PreceptorError, match=r"metric counted: ValueError: .*read-only"):
        meter.result()
    meter = MaskMeter(("none", "lesion"), {"counted": replace(of_masks, per_image=of_image)})
    with pytest.raises(PreceptorError, match=r"metric counted: ValueError: .*read-only"):
        meter.update_arrays(np.ones((2, 2), dtype=int), np.ones((2, 2), dtype=int))


@pytest.mark.parametrize("value", ["much", [0.5], np.zeros(2), ZeroDivisionError()])
def test_a_metric_that_gives_no_number_is_named(value: object) -> None:
    def returns(targets: np.ndarray, probabilities: np.ndarray) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    with pytest.raises(PreceptorError, match=r"metric mine: (TypeError|ZeroDivisionError)") as caught:
        Metric("mine", "m", ("classification",), returns)(TARGETS, SCORES)
    assert caught.value.__cause__ is not None
