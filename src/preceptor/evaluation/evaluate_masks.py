"""Segmenters on images with masks: metrics of each, and a row per image for ``predictions.csv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from preceptor.data.batches import Loader, in_order
from preceptor.evaluation.evaluate import Evaluation
from preceptor.evaluation.fidelity import FidelityMeter, fidelity_record
from preceptor.evaluation.masks import MaskMeter, union
from preceptor.evaluation.metrics import Metric
from preceptor.networks.modes import evaluating
from preceptor.utils.errors import PreceptorError


@torch.no_grad()
def evaluate_masks(
    networks: Mapping[str, nn.Module],
    loader: Loader,
    ids: Sequence[str],
    classes: Sequence[str],
    part: str,
    ensembles: Mapping[str, Sequence[str]] | None = None,
    references: Sequence[str] = (),
    batch_size: int = 64,
    metrics: Mapping[str, Metric] | None = None,
) -> Evaluation:
    """Return metrics and predictions of segmenters, each image read once; see :meth:`preceptor.tasks.Task.evaluate`.

    Args:
        classes: of the pixels, background first.
        ensembles: members of each, the union of whose masks is evaluated too.
        references: networks whose predictions the others' are compared with, for ``fidelity``. That of an ensemble
            has no ``kl``: the union may call a pixel foreground whose largest probability is the background's, so that
            no probabilities stand behind its masks.
        metrics: what to compute, by key; all of segmentation unless given.

    Raises:
        PreceptorError: a network's predictions are not finite.
    """
    joint = {name: list(members) for name, members in (ensembles or {}).items() if set(members) <= set(networks)}
    meters = {name: MaskMeter(classes, metrics) for name in (*networks, *joint)}
    teachers = [name for name in references if name in networks]
    fidelity = {name: {to: FidelityMeter() for to in teachers} for name in meters if name not in teachers}
    with evaluating(*networks.values()):
        for batch in loader.batches(in_order(len(loader), batch_size)):
            assert batch.masks is not None
            images, truth = batch.images.float().div_(255), batch.masks.long()
            logits = {name: network(images).logits for name, network in networks.items()}
            for name, output in logits.items():
                if not output.isfinite().all():
                    raise PreceptorError(f"network {name}: its predictions became NaN", remedy="lower optimiser.lr")
                meters[name].update(output, truth)
            joined = {name: union([logits[member].softmax(1) for member in joint[name]]) for name in joint}
            for name, labels in joined.items():
                meters[name].update(labels, truth)
            for name, by_teacher in fidelity.items():
                for teacher, to_teacher in by_teacher.items():
                    to_teacher.update((logits | joined)[name], logits[teacher])
    measured = {name: meter.result() for name, meter in meters.items()}
    for name, by_teacher in fidelity.items():
        measured[name] |= fidelity_record({teacher: meter.result() for teacher, meter in by_teacher.items()})
    return Evaluation(measured, [meter.rows(ids, part=part, network=name) for name, meter in meters.items()])
