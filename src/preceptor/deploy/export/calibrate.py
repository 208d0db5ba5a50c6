"""The temperature of an exported classifier, fitted on the validation part's predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preceptor.deploy.export.subject import Subject
from preceptor.deploy.manifest import Calibration, CalibrationFigures
from preceptor.evaluation.calibration import DETERMINED, calibration_error, fit_temperature, mean_nll, softmax
from preceptor.evaluation.predictions import PREFIX

_LEAST_PROBABILITY = 1e-300


def calibrate(subject: Subject) -> Calibration:
    """Fit a temperature to the run's validation predictions and measure it on validation and test part.

    The figures of the test part are measured after the fit; nothing is chosen by them.
    """
    if subject.masks:
        return Calibration(temperature=1.0, fitted_on=None, reason="masks are not calibrated")
    parts = {
        part: _logits(table, subject.classes)
        for part in ("validation", "test")
        if len(table := subject.predictions(part))
    }
    if "validation" not in parts:
        return Calibration(temperature=1.0, fitted_on=None, reason="the run has no validation part")
    temperature = round(fit_temperature(*parts["validation"]), 6)
    if not DETERMINED[0] < temperature < DETERMINED[1]:
        return Calibration(
            temperature=1.0, fitted_on=None, reason=f"the validation part does not determine it (T = {temperature:.3g})"
        )
    return Calibration(
        temperature=temperature,
        fitted_on="validation",
        before={part: _figures(*cases, 1.0) for part, cases in parts.items()},
        after={part: _figures(*cases, temperature) for part, cases in parts.items()},
    )


def _logits(table: pd.DataFrame, classes: tuple[str, ...]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logarithms of the probabilities, which differ from the logits by a number for each image; and the targets."""
    probabilities = table[[PREFIX + name for name in classes]].to_numpy(np.float64)
    index = {name: place for place, name in enumerate(classes)}
    targets = np.asarray(table["target"].map(index), dtype=np.int64)
    return np.log(np.maximum(probabilities, _LEAST_PROBABILITY)), targets


def _figures(logits: NDArray[np.float64], targets: NDArray[np.int64], temperature: float) -> CalibrationFigures:
    return CalibrationFigures(
        images=len(targets),
        nll=mean_nll(logits, targets, temperature),
        calibration_error=calibration_error(targets, softmax(logits / temperature)),
    )
