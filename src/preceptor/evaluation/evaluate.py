"""Classifiers on labelled images: metrics and relations of each, and the rows of ``predictions.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from preceptor.data.batches import Loader
from preceptor.evaluation.classification import classification_metrics
from preceptor.evaluation.ensemble import with_ensembles
from preceptor.evaluation.fidelity import fidelity, fidelity_record
from preceptor.evaluation.inference import predict_part
from preceptor.evaluation.metrics import Metric
from preceptor.evaluation.predictions import prediction_rows
from preceptor.evaluation.relations import PartRelations
from preceptor.utils.errors import PreceptorError


@dataclass(frozen=True)
class Evaluation:
    """Networks measured on one part.

    Attributes:
        metrics: by network and ensemble, ready for ``metrics.json``.
        predictions: rows of ``predictions.csv``, a frame for each network and ensemble.
        relations: how alike images of one class are embedded; None where it was not measured.
    """

    metrics: dict[str, dict[str, Any]]
    predictions: list[pd.DataFrame]
    relations: PartRelations | None = None


def evaluate_classes(
    networks: Mapping[str, nn.Module],
    loader: Loader,
    ids: Sequence[str],
    classes: Sequence[str],
    part: str,
    metrics: Mapping[str, Metric],
    ensembles: Mapping[str, Sequence[str]],
    references: Sequence[str],
    batch_size: int,
    relations: bool,
) -> Evaluation:
    """Return metrics, predictions and relations of classifiers; see :meth:`preceptor.tasks.Task.evaluate`.

    Args:
        metrics: what to compute, by key.
        ensembles: members of each, whose class-wise largest probabilities are evaluated too.
    """
    similarities = PartRelations(loader.labels, classes) if relations else None
    single = predict_part(networks, loader, batch_size, watch=similarities.watch if similarities else None)
    refuse_nonfinite(single)
    result = Evaluation({}, [], similarities)
    for name, probabilities in with_ensembles(single, ensembles).items():
        result.metrics[name] = classification_metrics(loader.labels, probabilities, classes, metrics)
        if name not in references:
            measured = {
                teacher: fidelity(probabilities, single[teacher]) for teacher in references if teacher in single
            }
            result.metrics[name] |= fidelity_record(measured)
        result.predictions.append(prediction_rows(ids, loader.labels, probabilities, classes, part=part, network=name))
    return result


def refuse_nonfinite(predictions: Mapping[str, np.ndarray]) -> None:
    """Raise a PreceptorError if the predictions of a network are NaN or infinite."""
    for name, values in predictions.items():
        if not np.isfinite(values).all():
            raise PreceptorError(f"network {name}: its predictions became NaN", remedy="lower optimiser.lr")


def best_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
