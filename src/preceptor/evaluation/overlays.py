"""``overlays.npz``: test images with the masks that every network drew on them, for a report to choose from."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from preceptor.data.batches import Loader
from preceptor.evaluation.masks import union
from preceptor.networks.modes import evaluating
from preceptor.utils.files import write_bytes

_BATCH = 64  # images at a time
_QUALITY = 90  # of the images, which are for looking at; masks are kept as they are


@torch.no_grad()
def draw_masks(
    networks: Mapping[str, nn.Module],
    loader: Loader,
    rows: NDArray[np.int64],
    ensembles: Mapping[str, Sequence[str]],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], dict[str, NDArray[np.uint8]]]:
    """Some images of a loader, their masks, and those of each network and then of each ensemble.

    Args:
        networks: by name, on the loader's device.
        rows: (M,) of the loader's part.
        ensembles: members of each; those with a member that is not there are left out.

    Returns:
        images (M, S, S, 3), truth (M, S, S), and (M, S, S) class indices by network.
    """
    with evaluating(*networks.values()):
        batch = next(loader.batches([rows]))
        assert batch.masks is not None
        images = batch.images.float().div_(255)
        probabilities = {name: network(images).logits.float().softmax(1) for name, network in networks.items()}
    masks = {name: values.argmax(1) for name, values in probabilities.items()}
    for name, members in ensembles.items():
        if set(members) <= set(probabilities):
            masks[name] = union([probabilities[member] for member in members])
    drawn = {name: mask.cpu().numpy().astype(np.uint8) for name, mask in masks.items()}
    return batch.images.permute(0, 2, 3, 1).cpu().numpy(), batch.masks.cpu().numpy(), drawn


def write_overlays(
    path: Path,
    kept: Sequence[str],
    networks: Mapping[str, nn.Module],
    loader: Loader,
    ids: Sequence[str],
    ensembles: Mapping[str, Sequence[str]],
) -> None:
    """Draws the masks of some images of a loader and writes them with :func:`save_overlays`.

    Args:
        kept: ids of these images, see :func:`preceptor.evaluation.examples.ids_to_keep`.
        ids: of the loader's images, in its order.
    """
    place = {name: row for row, name in enumerate(ids)}
    rows = np.array([place[name] for name in kept])
    pictures: list[bytes] = []
    truths: list[NDArray[np.uint8]] = []
    masks: dict[str, list[NDArray[np.uint8]]] = {}
    for start in range(0, len(rows), _BATCH):
        images, truth, drawn = draw_masks(networks, loader, rows[start : start + _BATCH], ensembles)
        pictures += [as_jpeg(image) for image in images]
        truths.append(truth)
        for name, mask in drawn.items():
            masks.setdefault(name, []).append(mask)
    save_overlays(
        path, kept, pictures, np.concatenate(truths), {name: np.concatenate(batches) for name, batches in masks.items()}
    )


def as_jpeg(image: NDArray[np.uint8]) -> bytes:
    """An image (S, S, 3) in about a tenth of its size."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()


def save_overlays(
    path: Path,
    ids: Sequence[str],
    images: Sequence[bytes],
    truth: NDArray[np.uint8],
    masks: Mapping[str, NDArray[np.uint8]],
) -> None:
    """Writes one compressed file, whole or not at all.

    It holds ``ids`` (M,), ``images`` (M,) JPEG files, ``truth`` (M, S, S) uint8 class indices, ``networks`` (K,) and
    ``masks`` (K, M, S, S) uint8. Masks are large areas of one value, which deflate packs nearly as small
    as it would bits.

    Args:
        masks: (M, S, S) class indices by network.
    """
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        ids=np.array(ids, dtype=str),
        images=np.array(images, dtype=bytes),  # padded with zeros, which no JPEG file ends in
        truth=truth,
        networks=np.array(list(masks), dtype=str),
        masks=np.stack(list(masks.values())),
    )
    write_bytes(path, buffer.getvalue())
