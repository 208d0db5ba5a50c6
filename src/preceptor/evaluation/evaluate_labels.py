"""Evaluate classifiers with several labels per image on the images of a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from preceptor.data.batches import Loader
from preceptor.evaluation.evaluate import Evaluation, refuse_nonfinite
from preceptor.evaluation.fidelity import fidelity, fidelity_record
from preceptor.evaluation.inference import predict_part
from preceptor.evaluation.labels import label_metrics, label_rows
from preceptor.evaluation.metrics import Metric
from preceptor.evaluation.metrics.registry import Floats


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
    refuse_nonfinite(single)
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


def _two_classes(probabilities: Floats) -> Floats:
    """Return (N·L, 2): every label as a case of its own, no and yes."""
    flat = probabilities.reshape(-1)
    return np.stack([1 - flat, flat], axis=1)
