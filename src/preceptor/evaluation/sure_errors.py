"""``errors.npz``: the errors that each classifier is surest of, as pictures with Grad-CAM."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional as F

from preceptor.data.batches import Loader
from preceptor.evaluation.grad_cam import grad_cam
from preceptor.evaluation.map_size import shows_places
from preceptor.evaluation.overlays import as_jpeg
from preceptor.evaluation.score_columns import score_columns
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_bytes

KEPT = 12  # errors of a network, of which a report shows at most one per lesion
SIDE = 96  # of a picture, pixels
CELLS = 16  # of a map, a side


def write_sure_errors(
    path: Path,
    networks: Mapping[str, nn.Module],
    loader: Loader,
    ids: Sequence[str],
    predictions: Iterable[pd.DataFrame],
    classes: Sequence[str],
) -> None:
    """Write one compressed file, whole or not at all.

    It holds for each error ``ids`` and ``networks`` (E,), ``images`` (E,) JPEG files and ``maps`` (E, 16, 16) uint8:
    which parts of the last feature map raised the score of the predicted class; all zero where the network's logits do
    not come from its feature map, or where that has fewer than four cells. ``cells`` (E, 2) are the height and width
    that the map was enlarged from, zero where the logits do not come from one.

    Args:
        networks: by name, on the loader's device.
        loader: of the test part.
        ids: of its images, in its order.
        predictions: rows of ``predictions.csv`` of that part; those of ensembles, which have no gradient, are left out.
        classes: in the order of the logits.
    """
    place = {name: row for row, name in enumerate(ids)}
    names: list[str] = []
    owners: list[str] = []
    pictures: list[bytes] = []
    maps = [np.zeros((0, CELLS, CELLS), dtype=np.uint8)]
    cells: list[tuple[int, int]] = []
    for table in predictions:
        name = str(table["network"].iloc[0]) if len(table) else ""
        errors = surest(table, classes)
        if name in networks and len(errors):
            rows = np.array([place[image] for image in errors["id"]])
            images = next(loader.batches([rows])).images
            predicted = torch.tensor([list(classes).index(each) for each in errors["predicted"]], device=images.device)
            own, size = _maps(networks[name], images.float().div_(255), predicted)
            maps.append(own)
            cells += [size] * len(errors)
            pictures += [_picture(image) for image in images.permute(0, 2, 3, 1).cpu().numpy()]
            names += errors["id"].tolist()
            owners += [name] * len(errors)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        ids=np.array(names, dtype=str),
        networks=np.array(owners, dtype=str),
        images=np.array(pictures, dtype=bytes),  # padded with zeros, which no JPEG file ends in
        maps=np.concatenate(maps),
        cells=np.array(cells, dtype=np.int64).reshape(-1, 2),
    )
    write_bytes(path, buffer.getvalue())


def surest(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return the errors among rows of ``predictions.csv`` with the highest probability, at most :data:`KEPT`."""
    wrong = table[table["predicted"] != table["target"]]
    sure = wrong[score_columns(classes)].to_numpy(np.float64).max(axis=1, initial=0)
    return wrong.iloc[np.argsort(-sure, kind="stable")[:KEPT]]


def _maps(network: nn.Module, images: torch.Tensor, classes: torch.Tensor) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Maps (E, 16, 16), and the height and width of the network's own."""
    none = np.zeros((len(images), CELLS, CELLS), dtype=np.uint8)
    try:
        heat = grad_cam(network, images, classes)
    except PreceptorError:  # a transformer: its logits come from a token
        return none, (0, 0)
    size = (heat.shape[1], heat.shape[2])
    if not shows_places(*size):
        return none, size
    even = F.interpolate(heat[:, None].float(), (CELLS, CELLS), mode="bilinear", align_corners=False)[:, 0]
    return np.asarray(even.mul(255).round().byte().cpu().numpy()), size


def _picture(image: NDArray[np.uint8]) -> bytes:
    return as_jpeg(np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)))
