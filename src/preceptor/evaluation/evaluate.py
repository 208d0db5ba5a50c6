"""Finished networks, read from their files, on labelled images: a part of their own data, or other data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from preceptor.data.batches import Loader
from preceptor.data.cache import open_pixels
from preceptor.data.catalog import Catalog
from preceptor.errors import PreceptorError
from preceptor.evaluation.inference import predict_part
from preceptor.evaluation.metrics import classification_metrics
from preceptor.evaluation.predictions import prediction_rows
from preceptor.networks.classifier import Classifier


@dataclass(frozen=True)
class Evaluation:
    """What networks made of some images: metrics by network, and the rows of ``predictions.csv``."""

    metrics: dict[str, dict[str, Any]]
    predictions: list[pd.DataFrame]


def evaluate(
    networks: Mapping[str, Classifier], catalog: Catalog, rows: np.ndarray, part: str, cache: Path | None = None
) -> Evaluation:
    """Metrics and predictions of each network on the given rows of a catalog.

    Args:
        networks: by name, on the device to use; all of one image size.
        rows: (P,) rows of ``catalog``.
        part: what the rows are called in the predictions.
        cache: where decoded images are kept.

    Raises:
        PreceptorError: the catalog has other classes than a network.
    """
    for name, network in networks.items():
        if network.architecture.classes != catalog.classes:
            raise PreceptorError(
                f"{name} tells apart {', '.join(network.architecture.classes)}; {catalog.name} has "
                f"{', '.join(catalog.classes)}",
                expected="data with the network's classes, in the same order",
            )
    found = Evaluation({}, [])
    for name, network in networks.items():
        device = next(network.parameters()).device
        pixels = open_pixels(catalog, network.architecture.image_size, directory=cache)
        loader = Loader(pixels, catalog.labels, rows, device)
        probabilities = predict_part({name: network}, loader, batch_size=64)[name]
        ids = catalog.table["id"].iloc[rows].tolist()
        found.metrics[name] = classification_metrics(loader.labels, probabilities, catalog.classes)
        found.predictions.append(
            prediction_rows(ids, loader.labels, probabilities, catalog.classes, part=part, network=name)
        )
    return found


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
