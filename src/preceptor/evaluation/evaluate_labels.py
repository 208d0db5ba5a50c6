"""Classifiers with several labels an image: metrics of each, and the rows of ``predictions.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from preceptor.data.batches import Loader
from preceptor.evaluation.evaluate import Evaluation, refuse_unfinite
from preceptor.evaluation.fidelity import fidelity, fidelity_record
from preceptor.evaluation.inference import predict_part
from preceptor.evaluation.metrics import Metric
from preceptor.evaluation.metrics.multi_label import label_auc, label_average_precision
from preceptor.evaluation.metrics.registry import Floats, values_of


def evaluate_labels(
    networks: Mapping[str, nn.Module],
    loader: Loader,
    ids: Sequence[str],
    labels: Sequence[str],
    part: str,
    metrics: Mapping[str, Metric],
    ensembles: Mapping[str, Sequence[str]],
    references: Sequence[str],
    batch_size: int,
) -> Evaluation:
    """Return metrics and predictions of networks; see :meth:`preceptor.tasks.Task.evaluate`.

    Args:
        labels: names, in the order of the logits.
        metrics: what to compute, by key.
        ensembles: members of each, whose largest probability of each label is evaluated too.
    """
    single = predict_part(networks, loader, batch_size, activation="sigmoid")
    refuse_unfinite(single)
    joint = {
        name: np.max([single[member] for member in members], axis=0)
        for name, members in ensembles.items()
        if set(members) <= set(single)
    }
    result, targets = Evaluation({}, []), np.asarray(loader.labels, dtype=np.float64)
    for name, probabilities in (single | joint).items():
        result.metrics[name] = label_metrics(targets, probabilities, labels, metrics)
        if name not in references:
            teachers = [teacher for teacher in references if teacher in single]
            pairs = {teacher: map(_two_classes, (probabilities, single[teacher])) for teacher in teachers}
            result.metrics[name] |= fidelity_record({teacher: fidelity(*pair) for teacher, pair in pairs.items()})
        result.predictions.append(label_rows(ids, targets, probabilities, labels, part=part, network=name))
    return result


def label_metrics(
    targets: Floats, probabilities: Floats, labels: Sequence[str], metrics: Mapping[str, Metric]
) -> dict[str, Any]:
    """Return the metrics of one network on one part, ready for JSON.

    Args:
        targets: (N, L), 1, 0 or NaN where a label is not known.
        probabilities: (N, L).

    Returns:
        ``cases``; each metric, None where it is undefined; and ``per_label``: of each label ``positives``, ``known``,
        ``auc`` and ``average_precision``, None where it has no positive or no negative.
    """
    targets = np.asarray(targets, dtype=np.float64)
    areas, precisions = label_auc(targets, probabilities), label_average_precision(targets, probabilities)
    return {
        "cases": len(targets),
        **values_of(metrics, targets, probabilities),
        "per_label": {
            name: {
                "positives": int((targets[:, index] == 1).sum()),
                "known": int((~np.isnan(targets[:, index])).sum()),
                "auc": _or_none(areas[index]),
                "average_precision": _or_none(precisions[index]),
            }
            for index, name in enumerate(labels)
        },
    }


def label_rows(
    ids: Sequence[str], targets: Floats, probabilities: Floats, labels: Sequence[str], *, part: str, network: str
) -> pd.DataFrame:
    """Return the rows of ``predictions.csv``: ``t_<label>`` (empty where not known) and ``p_<label>`` of each label."""
    keys = pd.DataFrame({"id": list(ids), "part": part, "network": network})
    truth = pd.DataFrame(np.asarray(targets, dtype=np.float64), columns=[f"t_{name}" for name in labels])
    return pd.concat([keys, truth, pd.DataFrame(probabilities, columns=[f"p_{name}" for name in labels])], axis=1)


def _two_classes(probabilities: Floats) -> Floats:
    """Return (N·L, 2): every label as a case of its own, no and yes."""
    flat = probabilities.reshape(-1)
    return np.stack([1 - flat, flat], axis=1)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
