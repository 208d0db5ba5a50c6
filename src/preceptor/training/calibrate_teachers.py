"""Temperatures of frozen teachers, fitted to the validation part before the first epoch."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from preceptor.data.batches import Batch, Loader
from preceptor.evaluation.calibration import determined_temperature
from preceptor.evaluation.inference import predict_part
from preceptor.networks.output import NetworkOutput
from preceptor.training.module import DistillationModel
from preceptor.utils.errors import PreceptorWarning


def calibrate_teachers(fabric: Fabric, model: DistillationModel, validation: Loader) -> None:
    """Fit the temperature of every teacher that its recipe wants calibrated (Guo et al. 2017, §4.2).

    It minimises the unweighted negative log-likelihood of the validation part. With several labels per image there is
    one temperature for all of them. Where the part does not determine it, nearly every image being right, the logits
    stay as they are and a warning says so.
    """
    if not model.temperatures:
        return
    fitted = _fitted(model, validation) if fabric.is_global_zero else {}
    for name, temperature in fabric.broadcast(fitted).items():
        model.temperatures[name].fill_(temperature)


def _fitted(model: DistillationModel, validation: Loader) -> dict[str, float]:
    logits: dict[str, list[Tensor]] = {name: [] for name in model.temperatures}

    def keep(name: str, batch: Batch, output: NetworkOutput) -> None:
        logits[name].append(output.logits.double().cpu())

    predict_part({name: model.networks[name] for name in logits}, validation, batch_size=64, watch=keep)
    fitted = {}
    for name, parts in logits.items():
        temperature = determined_temperature(*cases(torch.cat(parts).numpy(), validation.labels))
        if temperature is None:
            warnings.warn(
                f"networks.{name}.calibrated: the validation part does not determine its temperature; "
                "its logits stay as they are",
                PreceptorWarning,
                stacklevel=2,
            )
        fitted[name] = 1.0 if temperature is None else temperature
    return fitted


def cases(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and targets of single decisions: of images, or of each known label as two classes (0, z).

    >>> cases(np.array([[2.0, -1.0]]), np.array([[1.0, np.nan]]))
    (array([[0., 2.]]), array([1]))
    """
    if labels.ndim == 1:
        return logits, labels
    known = ~np.isnan(labels)
    scores = logits[known]
    return np.stack([np.zeros_like(scores), scores], axis=1), labels[known].astype(np.int64)
