"""Metrics of grades: classes in an order, where a near miss is better than a far one."""

from __future__ import annotations

import numpy as np

from preceptor.evaluation.metrics.classification import Indices
from preceptor.evaluation.metrics.registry import Additive, Floats, Metric, add_metric

GRADES = ("ordinal",)


def pairs(targets: Indices, probabilities: Floats) -> Floats:
    """Return what each image adds to the confusion matrix, (N, C²): true grades by predicted ones."""
    classes = probabilities.shape[1]
    return np.eye(classes * classes)[np.asarray(targets) * classes + probabilities.argmax(axis=1)]


def quadratic_kappa(sums: Floats) -> Floats:
    """Cohen's kappa with quadratic weights (J. Cohen 1968), 1 − Σ w·O / Σ w·E with w = (i − j)², from :func:`pairs`.

    NaN where all images have one grade and all are given it.
    """
    counts = _confusion(sums)
    classes = counts.shape[-1]
    weights = np.square(np.arange(classes)[:, None] - np.arange(classes))
    expected = counts.sum(-1)[..., :, None] * counts.sum(-2)[..., None, :] / counts.sum((-1, -2))[..., None, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - (weights * counts).sum((-1, -2)) / (weights * expected).sum((-1, -2))


def off_by_one_accuracy(sums: Floats) -> Floats:
    """Share of images whose grade is missed by one at most, from :func:`pairs`."""
    counts = _confusion(sums)
    near = np.tri(counts.shape[-1], k=1) * np.tri(counts.shape[-1], k=1).T
    return (near * counts).sum((-1, -2)) / counts.sum((-1, -2))


def mean_grade_error(sums: Floats) -> Floats:
    """Mean distance, in grades, of the predicted grade from the true one, from :func:`pairs`."""
    counts = _confusion(sums)
    grades = np.arange(counts.shape[-1])
    return (np.abs(grades[:, None] - grades) * counts).sum((-1, -2)) / counts.sum((-1, -2))


def _confusion(sums: Floats) -> Floats:
    classes = round(sums.shape[-1] ** 0.5)
    return sums.reshape(*sums.shape[:-1], classes, classes)


for _key, _label, _value, _higher in (
    ("quadratic_kappa", "quadratic weighted kappa", quadratic_kappa, True),
    ("off_by_one_accuracy", "accuracy within one grade", off_by_one_accuracy, True),
    ("mean_grade_error", "mean grade error", mean_grade_error, False),
):
    _additive = Additive(pairs, _value)
    add_metric(Metric(_key, _label, GRADES, _additive, higher_is_better=_higher, additive=_additive))
