"""Metrics of tasks with one class per image, from class indices (N,) and probabilities (N, C).

The predicted class is the most probable one (the first, among equals). Macro means run over the classes that occur in
the targets: the recall, the AUC and the average precision of a class without a single case do not exist.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluation.calibration import calibration_error, surplus_by_bin
from preceptor.evaluation.metrics.registry import ONE_CLASS, Additive, Floats, Metric, Resampled, add_metric

Indices = NDArray[np.integer]


def outcomes(targets: Indices, probabilities: Floats) -> Floats:
    """Return what each image adds to cases, predictions and hits of each class, (N, 3C)."""
    one_hot = np.eye(probabilities.shape[1])
    truth, predicted = one_hot[targets], one_hot[probabilities.argmax(axis=1)]
    return np.hstack([truth, predicted, truth * predicted])


def accuracy(sums: Floats) -> Floats:
    """Share of images whose class is predicted, from sums of :func:`outcomes`."""
    cases, _, hits = np.split(sums, 3, axis=-1)
    return hits.sum(-1) / cases.sum(-1)


def balanced_accuracy(sums: Floats) -> Floats:
    """Mean recall, the balanced multiclass accuracy of the ISIC challenges, from sums of :func:`outcomes`."""
    cases, _, hits = np.split(sums, 3, axis=-1)
    return mean_of_known(_ratio(hits, cases))


def macro_precision(sums: Floats) -> Floats:
    """Mean precision, 0 for a class that is never predicted, from sums of :func:`outcomes`."""
    cases, predicted, hits = np.split(sums, 3, axis=-1)
    return mean_of_known(np.where(cases > 0, np.where(predicted > 0, _ratio(hits, predicted), 0.0), np.nan))


def macro_f1(sums: Floats) -> Floats:
    """Mean of the classes' F1 = 2·hits / (cases + predictions), from sums of :func:`outcomes`."""
    cases, predicted, hits = np.split(sums, 3, axis=-1)
    return mean_of_known(np.where(cases > 0, _ratio(2 * hits, cases + predicted), np.nan))


def macro_auc(targets: Indices, probabilities: Floats) -> float:
    """Mean area under the ROC curves of one class against the rest; NaN when only one class occurs."""
    from sklearn.metrics import roc_auc_score

    present = np.unique(targets)
    if len(present) < 2:
        return float("nan")
    return float(np.mean([roc_auc_score(targets == index, probabilities[:, index]) for index in present]))


def macro_average_precision(targets: Indices, probabilities: Floats) -> float:
    """Mean average precision of one class against the rest."""
    from sklearn.metrics import average_precision_score

    ranked = [(targets == index, probabilities[:, index]) for index in np.unique(targets)]
    return float(np.mean([average_precision_score(*pair) for pair in ranked]))


def log_losses(targets: Indices, probabilities: Floats) -> Floats:
    """Return what each image adds: itself, and the negative logarithm of its class's probability, (N, 2)."""
    likelihoods = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    losses = -np.log(np.maximum(likelihoods, np.finfo(np.float32).tiny))
    return np.stack([np.ones(len(targets)), losses], axis=1)


def negative_log_likelihood(sums: Floats) -> Floats:
    """Mean cross-entropy without class weights, from sums of :func:`log_losses`."""
    return _ratio(sums[..., 1], sums[..., 0])


def mean_of_known(values: Floats) -> Floats:
    """Mean over the last axis with NaN left out; NaN where nothing is left.

    One row is compressed first, so that its mean is numpy's, to the last bit, of the values that are known.
    """
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        if values.ndim == 1:
            return np.asarray(values[known].sum() / known.sum())
        return np.where(known, values, 0.0).sum(-1) / known.sum(-1)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return numerator / denominator


def _areas(targets: Indices, probabilities: Floats, group: Indices, groups: int) -> Resampled:
    from preceptor.evaluation.ranking import resampled_area

    classes = range(probabilities.shape[1])
    areas = [resampled_area(probabilities[:, index], targets == index, group, groups) for index in classes]
    return lambda times: mean_of_known(np.stack([area(times) for area in areas], axis=1))


def _precisions(targets: Indices, probabilities: Floats, group: Indices, groups: int) -> Resampled:
    from preceptor.evaluation.ranking import resampled_precision

    classes = range(probabilities.shape[1])
    each = [resampled_precision(probabilities[:, index], targets == index, group, groups) for index in classes]
    return lambda times: mean_of_known(np.stack([precision(times) for precision in each], axis=1))


def _calibration(sums: Floats) -> Floats:
    return np.abs(sums[..., 1:]).sum(-1) / sums[..., 0]


for _key, _label, _value in (
    ("balanced_accuracy", "balanced accuracy (mean recall)", balanced_accuracy),
    ("accuracy", "accuracy", accuracy),
    ("macro_precision", "macro precision", macro_precision),
    ("macro_f1", "macro F1", macro_f1),
):
    _additive = Additive(outcomes, _value)
    add_metric(Metric(_key, _label, ONE_CLASS, _additive, additive=_additive))
add_metric(Metric("macro_auc", "macro AUC", ONE_CLASS, macro_auc, prepare=_areas, ranks=True))
add_metric(
    Metric(
        "macro_average_precision",
        "macro average precision",
        ONE_CLASS,
        macro_average_precision,
        prepare=_precisions,
        ranks=True,
    )
)
add_metric(
    Metric(
        "calibration_error",
        "calibration error",
        ONE_CLASS,
        calibration_error,
        higher_is_better=False,
        additive=Additive(surplus_by_bin, _calibration),
    )
)
_likelihood = Additive(log_losses, negative_log_likelihood)
add_metric(
    Metric("nll", "negative log-likelihood", ONE_CLASS, _likelihood, higher_is_better=False, additive=_likelihood)
)
