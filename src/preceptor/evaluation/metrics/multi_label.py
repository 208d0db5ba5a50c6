"""Metrics of several labels per image, from labels (N, L), 1, 0 or NaN where not known, and probabilities (N, L).

Macro means run over the labels for which the metric exists. A label is predicted from a probability of 0.5 on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluation.metrics.classification import Indices, mean_of_known
from preceptor.evaluation.metrics.registry import Additive, Draws, Floats, Metric, Resampled, add_metric

LABELS = ("multi_label",)


def by_label(function: Callable[[Floats, Floats], float], targets: Floats, probabilities: Floats) -> Floats:
    """Return a metric of each label (L,), from the images in which it is known; NaN where it has no two kinds.

    Args:
        function: truth (N,) of 0 and 1, probabilities (N,) -> value.
    """
    values = np.full(targets.shape[1], np.nan)
    for label in range(targets.shape[1]):
        known = ~np.isnan(targets[:, label])
        truth = targets[known, label]
        if truth.any() and not truth.all():
            values[label] = function(truth, probabilities[known, label])
    return values


def label_auc(targets: Floats, probabilities: Floats) -> Floats:
    """Return the area under the ROC curve of each label, (L,)."""
    from sklearn.metrics import roc_auc_score

    return by_label(roc_auc_score, targets, probabilities)


def label_average_precision(targets: Floats, probabilities: Floats) -> Floats:
    """Return the average precision of each label, (L,)."""
    from sklearn.metrics import average_precision_score

    return by_label(average_precision_score, targets, probabilities)


def label_outcomes(targets: Floats, probabilities: Floats) -> Floats:
    """Return what each image adds to positives, predictions, hits, rightly called and known labels, (N, 5L)."""
    known = ~np.isnan(targets)
    truth, called = known & (targets == 1), known & (probabilities >= 0.5)
    columns = (truth, called, truth & called, known & (truth == called), known)
    return np.hstack([column.astype(np.float64) for column in columns])


def label_macro_f1(sums: Floats) -> Floats:
    """Mean over labels with a positive of F1 = 2·hits / (positives + predictions), from :func:`label_outcomes`."""
    positives, called, hits, _, _ = np.split(sums, 5, axis=-1)
    with np.errstate(invalid="ignore"):
        return mean_of_known(np.where(positives > 0, 2 * hits / (positives + called), np.nan))


def label_accuracy(sums: Floats) -> Floats:
    """Share of known labels that are called rightly (1 less the Hamming loss), from :func:`label_outcomes`."""
    _, _, _, right, known = np.split(sums, 5, axis=-1)
    return right.sum(-1) / known.sum(-1)


def _macro(of_labels: Callable[[Floats, Floats], Floats], targets: Floats, probabilities: Floats) -> float:
    return float(mean_of_known(of_labels(targets, probabilities)))


def _resampled(form: str, targets: Floats, probabilities: Floats, group: Indices, groups: int) -> Resampled:
    from preceptor.evaluation import ranking

    prepared = []
    for label in range(targets.shape[1]):
        known = ~np.isnan(targets[:, label])
        truth = targets[known, label] == 1
        values = getattr(ranking, form)(probabilities[known, label], truth, group[known], groups)
        prepared.append(_of_both_kinds(values, truth, group[known], groups))
    return lambda times: mean_of_known(np.stack([values(times) for values in prepared], axis=1))


def _of_both_kinds(values: Resampled, truth: NDArray[np.bool_], group: Indices, groups: int) -> Resampled:
    """Leave a label's metric undefined in draws without a positive or without a negative, as :func:`by_label` does."""
    counts = [np.bincount(group[kind], minlength=groups).astype(np.float64) for kind in (truth, ~truth)]

    def of_draws(times: Draws) -> Floats:
        both = np.logical_and(*(times @ count > 0 for count in counts))
        return np.where(both, values(times), np.nan)

    return of_draws


add_metric(
    Metric(
        "label_auc",
        "macro AUC of labels",
        LABELS,
        partial(_macro, label_auc),
        prepare=partial(_resampled, "resampled_area"),
        ranks=True,
    )
)
add_metric(
    Metric(
        "label_average_precision",
        "macro average precision of labels",
        LABELS,
        partial(_macro, label_average_precision),
        prepare=partial(_resampled, "resampled_precision"),
        ranks=True,
    )
)
for _key, _label, _value in (
    ("label_macro_f1", "macro F1 of labels at 0.5", label_macro_f1),
    ("label_accuracy", "accuracy of labels at 0.5", label_accuracy),
):
    _additive = Additive(label_outcomes, _value)
    add_metric(Metric(_key, _label, LABELS, _additive, additive=_additive))
