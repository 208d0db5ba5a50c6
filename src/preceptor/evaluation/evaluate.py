"""Networks on labelled images: metrics and relations of each, and the rows of ``predictions.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import nn

from preceptor.data.batches import Loader
from preceptor.evaluation.ensemble import with_ensembles
from preceptor.evaluation.fidelity import fidelity
from preceptor.evaluation.inference import predict_part
from preceptor.evaluation.metrics import classification_metrics
from preceptor.evaluation.predictions import prediction_rows
from preceptor.evaluation.relations import PartRelations

BATCH = 64  # images at a time; what is measured does not depend on it


@dataclass(frozen=True)
class Evaluation:
    """What networks made of some images: metrics by network, a frame of predictions for each, and their relations."""

    metrics: dict[str, dict[str, Any]]
    predictions: list[pd.DataFrame]
    relations: PartRelations


def evaluate(
    networks: Mapping[str, nn.Module],
    loader: Loader,
    ids: Sequence[str],
    classes: Sequence[str],
    part: str,
    ensembles: Mapping[str, Sequence[str]] | None = None,
    teacher: str | None = None,
) -> Evaluation:
    """Metrics, predictions and relations of each network for the images of a loader.

    Args:
        networks: by name, on the loader's device; all take images of the loader's size.
        ids: of the loader's images, in its order.
        classes: the class names in the order of the logits.
        part: what these images are called in the predictions.
        ensembles: members of each, whose joint predictions are evaluated too (see :func:`with_ensembles`).
        teacher: the network that the others are compared with, for ``fidelity``.
    """
    found = Evaluation({}, [], PartRelations(loader.labels, classes))
    said = predict_part(networks, loader, BATCH, watch=found.relations.watch)
    for name, probabilities in with_ensembles(said, ensembles or {}).items():
        found.metrics[name] = classification_metrics(loader.labels, probabilities, classes)
        if teacher in said and name != teacher:
            found.metrics[name]["fidelity"] = {"to": teacher, **fidelity(probabilities, said[teacher])}
        found.predictions.append(prediction_rows(ids, loader.labels, probabilities, classes, part=part, network=name))
    return found


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
