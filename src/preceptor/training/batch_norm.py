"""Batch normalisation over the images of all processes.

Each process sees its share of a batch, and plain batch normalisation takes the statistics of that share alone, so that
training on two processes differs from training on one. torch's own synchronised form needs GPUs; this one works with
any backend.
"""

from __future__ import annotations

from types import MethodType

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm


def synchronise(model: nn.Module) -> int:
    """Let every batch normalisation of a model take the statistics of all processes while it trains.

    State, names and evaluation mode stay as they are.

    Returns:
        How many layers were changed.
    """
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for layer in layers:
        layer.forward = MethodType(_forward, layer)  # type: ignore[method-assign]
    return len(layers)


def _forward(layer: _BatchNorm, x: Tensor) -> Tensor:
    if not layer.training:
        return type(layer).forward(layer, x)
    normalised = _normalise(layer, x.float()).to(x.dtype)
    for name in ("drop", "act"):  # timm's layers that hold their activation
        normalised = getattr(layer, name, nn.Identity())(normalised)
    return normalised


def _normalise(layer: _BatchNorm, x: Tensor) -> Tensor:
    """Normalise (B, K, …) by mean and variance over the images and places of all processes."""
    places = [0, *range(2, x.ndim)]
    shape = [1, -1] + [1] * (x.ndim - 2)
    count = x.new_full((1,), x.numel() / x.shape[1])
    sums = all_reduce(torch.cat([x.sum(places), count]))
    total = sums[-1]
    mean = sums[:-1] / total
    centred = x - mean.view(shape)
    variance = all_reduce(centred.square().sum(places)) / total  # of centred values: no cancellation
    if layer.track_running_stats and layer.running_mean is not None and layer.running_var is not None:
        with torch.no_grad():
            layer.num_batches_tracked += 1  # type: ignore[operator,assignment]
            share = layer.momentum if layer.momentum is not None else 1 / float(layer.num_batches_tracked)  # type: ignore[arg-type]
            layer.running_mean.lerp_(mean, share)
            layer.running_var.lerp_(variance * total / (total - 1).clamp(min=1), share)
    normalised = centred * torch.rsqrt(variance + layer.eps).view(shape)
    if layer.weight is not None:
        normalised = normalised * layer.weight.view(shape) + layer.bias.view(shape)
    return normalised
