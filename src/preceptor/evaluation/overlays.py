"""``overlays.npz``: a few test images with the masks that every network drew on them, for a report to show."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from preceptor.atomic import write_bytes
from preceptor.data.batches import Loader
from preceptor.evaluation.masks import union

OVERLAYS = "overlays.npz"


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
    modes = {name: network.training for name, network in networks.items()}
    for network in networks.values():
        network.eval()
    try:
        batch = next(loader.batches([rows]))
        assert batch.masks is not None
        images = batch.images.float().div_(255)
        said = {name: network(images).logits.float().softmax(1) for name, network in networks.items()}
    finally:
        for name, network in networks.items():
            network.train(modes[name])
    masks = {name: one.argmax(1) for name, one in said.items()}
    for name, members in ensembles.items():
        if set(members) <= set(said):
            masks[name] = union([said[member] for member in members])
    drawn = {name: one.cpu().numpy().astype(np.uint8) for name, one in masks.items()}
    return batch.images.permute(0, 2, 3, 1).cpu().numpy(), batch.masks.cpu().numpy(), drawn


def write_overlays(
    path: Path,
    cases: Mapping[str, Sequence[str]],
    networks: Mapping[str, nn.Module],
    loader: Loader,
    ids: Sequence[str],
    ensembles: Mapping[str, Sequence[str]],
) -> None:
    """Writes one compressed file, whole or not at all.

    It holds ``ids`` (M,), ``why`` (M,) the reasons of each joined by ``", "``, ``images`` (M, S, S, 3) uint8,
    ``truth`` (M, S, S) uint8 class indices, ``networks`` (K,) and ``masks`` (K, M, S, S) uint8.

    Args:
        cases: ids and reasons, see :func:`preceptor.evaluation.cases.cases_to_keep`.
        ids: of the loader's images, in its order.
    """
    place = {name: row for row, name in enumerate(ids)}
    images, truth, masks = draw_masks(networks, loader, np.array([place[one] for one in cases]), ensembles)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        ids=np.array(list(cases), dtype=str),
        why=np.array([", ".join(reasons) for reasons in cases.values()], dtype=str),
        images=images,
        truth=truth,
        networks=np.array(list(masks), dtype=str),
        masks=np.stack(list(masks.values())),
    )
    write_bytes(path, buffer.getvalue())
