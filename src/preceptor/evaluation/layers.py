"""``layers.npz``: how alike the layers of a run's networks are, pair by pair."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import nn

from preceptor.data.batches import Loader, in_order
from preceptor.evaluation.cka import LEAST_IMAGES, CKAMeter, LayerSimilarity, watch_layers
from preceptor.networks.modes import evaluating
from preceptor.utils.files import write_bytes

SAMPLE = 256  # images of a part, evenly spread over it; all where there are no more
BATCH = 64


@torch.no_grad()
def compare_networks(
    networks: Mapping[str, nn.Module], loader: Loader, reference: str | None = None
) -> dict[tuple[str, str], LayerSimilarity]:
    """Return the CKA of the layers of every two networks, the reference first, on a sample of a part.

    Args:
        networks: by name, on the loader's device.
        reference: the network that the others are compared with, their teacher as a rule.

    Returns:
        By the names of rows and columns; empty for one network alone, or a part of fewer than four images.
    """
    names = sorted(networks, key=lambda name: name != reference)
    rows = np.unique(np.linspace(0, len(loader) - 1, min(SAMPLE, len(loader))).round().astype(np.int64))
    if len(names) < 2 or len(rows) < LEAST_IMAGES:
        return {}
    meters = {pair: CKAMeter() for pair in combinations(names, 2)}
    with evaluating(*networks.values()), ExitStack() as stack:
        grams = {name: stack.enter_context(watch_layers(networks[name])) for name in names}
        for batch in loader.batches([rows[some] for some in in_order(len(rows), BATCH)]):
            if len(batch) < LEAST_IMAGES:  # of the last batch; they say nothing
                continue
            for name in names:
                grams[name].clear()
                networks[name](batch.images.float().div_(255))
            for (one, other), meter in meters.items():
                meter.update_grams(grams[one], grams[other])
    return {pair: meter.result() for pair, meter in meters.items()}


def write_layers(similarities: Mapping[tuple[str, str], LayerSimilarity], path: Path) -> None:
    """Writes one compressed file, whole or not at all.

    It holds ``pairs`` (K, 2), names of networks, ``images``, how many were looked at, and for pair k ``rows_k`` and
    ``columns_k``, names of layers in the order in which they run, and ``values_k`` (rows, columns) float32.
    """
    arrays: dict[str, np.ndarray] = {}
    for index, similarity in enumerate(similarities.values()):
        arrays[f"rows_{index}"] = np.array(similarity.rows, dtype=str)
        arrays[f"columns_{index}"] = np.array(similarity.columns, dtype=str)
        arrays[f"values_{index}"] = similarity.values.astype(np.float32)
    buffer = io.BytesIO()
    images = np.array(next(iter(similarities.values())).images)
    np.savez_compressed(buffer, pairs=np.array(list(similarities), dtype=str), images=images, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())
