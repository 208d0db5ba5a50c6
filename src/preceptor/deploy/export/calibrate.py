"""The temperature of an exported classifier, and the thresholds of labels, from the validation part's predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preceptor.deploy.export.subject import Subject
from preceptor.deploy.manifest import Calibration, CalibrationFigures, LabelRates, LabelThreshold
from preceptor.evaluation.calibration import (
    calibration_error,
    determined_temperature,
    log_probabilities,
    mean_nll,
    softmax,
)
from preceptor.evaluation.operating_points import at_threshold, youden_threshold
from preceptor.tasks import TASKS


def calibrate(subject: Subject) -> Calibration:
    """Fit a temperature to the run's validation predictions and measure it on validation and test part.

    The figures of the test part are measured after the fit; nothing is chosen by them.
    """
    if subject.masks:
        return Calibration(temperature=1.0, fitted_on=None, reason="masks are not calibrated")
    tables = _tables(subject)
    if "validation" not in tables:
        return Calibration(temperature=1.0, fitted_on=None, reason="the run has no validation part")
    parts = {part: _logits(subject, table) for part, table in tables.items()}
    fitted = determined_temperature(*parts["validation"])
    if fitted is None:
        return Calibration(temperature=1.0, fitted_on=None, reason="the validation part does not determine it")
    temperature = round(fitted, 6)
    return Calibration(
        temperature=temperature,
        fitted_on="validation",
        before={part: _figures(len(tables[part]), *cases, 1.0) for part, cases in parts.items()},
        after={part: _figures(len(tables[part]), *cases, temperature) for part, cases in parts.items()},
    )


def choose_thresholds(subject: Subject, temperature: float) -> list[LabelThreshold]:
    """Choose the threshold of each label on the validation part; none where there are no labels.

    Args:
        temperature: what logits are divided by before the sigmoid.
    """
    if subject.target != "labels":
        return []
    task = TASKS[subject.run.recipe.task]
    parts = {part: task.metric_cases(table, subject.classes) for part, table in _tables(subject).items()}
    result = []
    for index in range(len(subject.classes)):
        known = {
            part: _known(truth[:, index], scores[:, index], temperature) for part, (truth, scores) in parts.items()
        }
        threshold, chosen = 0.5, False
        if "validation" in known and len(set(known["validation"][0].tolist())) == 2:
            threshold, chosen = youden_threshold(*known["validation"]), True
        rates = {part: at_threshold(*cases, threshold) for part, cases in known.items()}
        result.append(
            LabelThreshold(
                threshold=threshold,
                chosen=chosen,
                rates={
                    part: LabelRates(
                        positives=point.positives, negatives=point.negatives, sensitivity=point.sensitivity,
                        specificity=point.specificity,
                    )
                    for part, point in rates.items()
                },
            )
        )  # fmt: skip
    return result


def _tables(subject: Subject) -> dict[str, pd.DataFrame]:
    """The rows of ``predictions.csv`` of the parts that the run has."""
    tables = {part: subject.predictions(part) for part in ("validation", "test")}
    return {part: table for part, table in tables.items() if len(table)}


def _known(
    truth: NDArray[np.float64], probabilities: NDArray[np.float64], temperature: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Presence of one label where it is known, and its probability at the temperature."""
    known = ~np.isnan(truth)
    tempered = softmax(_two_logits(probabilities[known]) / temperature)[:, 1]
    return truth[known] == 1, tempered


def _logits(subject: Subject, table: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits of each case, but for a number that is the same for all classes; and class indices.

    Every known label is a case of the two classes absent and present: softmax of its two logits is its sigmoid.
    """
    targets, probabilities = TASKS[subject.run.recipe.task].metric_cases(table, subject.classes)
    if subject.target == "labels":
        known = ~np.isnan(targets)
        return _two_logits(probabilities[known]), targets[known].astype(np.int64)
    return log_probabilities(probabilities), np.asarray(targets, dtype=np.int64)


def _two_logits(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms (N, 2) of the probabilities of absence and presence."""
    return log_probabilities(np.stack([1 - probabilities, probabilities], axis=1))


def _figures(
    images: int, logits: NDArray[np.float64], targets: NDArray[np.int64], temperature: float
) -> CalibrationFigures:
    return CalibrationFigures(
        images=images,
        nll=mean_nll(logits, targets, temperature),
        calibration_error=calibration_error(targets, softmax(logits / temperature)),
    )
