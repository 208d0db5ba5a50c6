"""Segmenters on images with masks: the figures of each, and a row an image for ``predictions.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import nn

from preceptor.data.batches import Loader, in_order
from preceptor.evaluation.fidelity import FidelityMeter
from preceptor.evaluation.masks import MaskMeter, union
from preceptor.utils.errors import PreceptorError


@dataclass(frozen=True)
class MaskEvaluation:
    """What segmenters made of some images: figures by network and ensemble, and rows an image of each."""

    metrics: dict[str, dict[str, Any]]
    predictions: list[pd.DataFrame]


@torch.no_grad()
def evaluate_masks(
    networks: Mapping[str, nn.Module],
    loader: Loader,
    ids: Sequence[str],
    classes: Sequence[str],
    part: str,
    ensembles: Mapping[str, Sequence[str]] | None = None,
    teacher: str | None = None,
    batch_size: int = 64,
) -> MaskEvaluation:
    """Figures of each network and of each ensemble (the union of its members' masks); images pass by once.

    Args:
        networks: by name, on the loader's device.
        ids: of the loader's images, in its order.
        classes: of the pixels, background first.
        part: what these images are called in the predictions.
        teacher: the network whose predictions the others' are compared with, for ``fidelity``. That of an ensemble has
            no ``kl``: the union calls a pixel foreground where the largest probability may speak for the background,
            so that no probabilities stand behind its masks.

    Raises:
        PreceptorError: a network's predictions are not finite.
    """
    joint = {name: list(members) for name, members in (ensembles or {}).items() if set(members) <= set(networks)}
    meters = {name: MaskMeter(classes) for name in (*networks, *joint)}
    fidelity = {name: FidelityMeter() for name in meters if teacher in networks and name != teacher}
    modes = {name: network.training for name, network in networks.items()}
    for network in networks.values():
        network.eval()
    try:
        for batch in loader.batches(in_order(len(loader), batch_size)):
            assert batch.masks is not None
            images, truth = batch.images.float().div_(255), batch.masks.long()
            logits = {name: network(images).logits for name, network in networks.items()}
            for name, one in logits.items():
                if not one.isfinite().all():
                    raise PreceptorError(f"network {name}: its predictions became NaN", remedy="lower optimiser.lr")
                meters[name].update(one, truth)
            joined = {name: union([logits[member].softmax(1) for member in joint[name]]) for name in joint}
            for name, one in joined.items():
                meters[name].update(one, truth)
            for name, meter in fidelity.items():
                meter.update((logits | joined)[name], logits[str(teacher)])
    finally:
        for name, network in networks.items():
            network.train(modes[name])
    metrics = {name: meter.result() for name, meter in meters.items()}
    for name, meter in fidelity.items():
        metrics[name]["fidelity"] = {"to": teacher, **meter.result()}
    return MaskEvaluation(metrics, [meter.rows(ids, part=part, network=name) for name, meter in meters.items()])
