"""Named feature points of a backbone: what objectives may compare besides its last map, embedding and logits.

``stem`` is the map at half the image's side, ``stage1`` to ``stage4`` are the maps at 1/4, 1/8, 1/16 and 1/32 after
their last activation, ``stage1_pre`` to ``stage4_pre`` the same before it (equal where a stage ends without one, as an
inverted residual does). ``stage4`` is the backbone's last map, so that MobileNetV2's has 1,280 channels. A transformer
gives its blocks at a quarter, a half, three quarters and the whole of its depth as the four stages, its last block but
one as ``penultimate``, and ``tokens`` (B, M, D) and ``class_token`` (B, D). Only requested points are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.utils.errors import PreceptorError, did_you_mean

STAGES = ("stage1", "stage2", "stage3", "stage4")
PRE = "_pre"
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.LeakyReLU, nn.ELU, nn.PReLU, nn.Mish)


def stage_indices(backbone: Any) -> dict[str, int]:
    """Return which of timm's ``forward_intermediates`` each point is: ``{"stem": 0, "stage1": 1, …}``.

    A backbone whose maps all have one resolution (a plain transformer) is cut into quarters of its depth.
    """
    info = getattr(backbone, "feature_info", None)
    if not info:
        return {}
    reductions = [int(entry["reduction"]) for entry in info]
    if len(set(reductions)) == 1:
        depth = len(reductions)
        if depth < 4:
            return {}
        return {"penultimate": depth - 2, **{name: round(depth * (k + 1) / 4) - 1 for k, name in enumerate(STAGES)}}
    places = {reduction: index for index, reduction in enumerate(reductions)}  # the last of each resolution
    wanted = {"stem": 2, **{name: 4 * 2**k for k, name in enumerate(STAGES)}}
    return {name: places[reduction] for name, reduction in wanted.items() if reduction in places}


def prefix_tokens(backbone: Any) -> int | None:
    """Return how many tokens come before those of the patches; None for a backbone without tokens."""
    return getattr(backbone, "num_prefix_tokens", None)


def intermediates(backbone: Any, images: Tensor, points: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Run the backbone once and return its last features and the stage maps that ``points`` name.

    Args:
        backbone: a timm model.
        images: (B, 3, S, S), normalised.
        points: names of :func:`stage_indices`; ``stage4`` is left to the caller, who knows the last map.

    Returns:
        What ``backbone.forward_features`` returns, bit for bit, and (B, K, h, w) by name.
    """
    indices = stage_indices(backbone)
    wanted = sorted({indices[name] for name in points})
    features, maps = backbone.forward_intermediates(
        images, indices=wanted, norm=False, output_fmt="NCHW", intermediates_only=False
    )
    return features, {name: maps[wanted.index(indices[name])] for name in points}


def refuse_unknown(points: Sequence[str], known: Mapping[str, object] | Sequence[str], backbone: str) -> None:
    """Raise for a feature point that a network does not have.

    Raises:
        PreceptorError: names the point, the backbone and the points that there are.
    """
    for name in points:
        if name not in known:
            raise PreceptorError(
                f"backbone {backbone!r} has no feature point {name!r}.{did_you_mean(name, known)}",
                expected="one of " + ", ".join(known),
            )


@contextmanager
def record_inputs(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Fill a dictionary with what enters each module during the passes inside the block.

    Copies are made where a module works in place, since the value would be overwritten.
    """
    entered: dict[str, Tensor] = {}

    def hook(name: str, copied: bool) -> Any:
        def record(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            entered[name] = inputs[0].clone() if copied else inputs[0]

        return record

    with ExitStack() as stack:
        for name, module in modules.items():
            handle = module.register_forward_pre_hook(hook(name, bool(getattr(module, "inplace", False))))
            stack.callback(handle.remove)
        yield entered


def last_activations(network: nn.Module, run: Any, points: Sequence[str]) -> dict[str, str]:
    """Return, by stage, the name of the activation whose output is that stage's map; stages without one are left out.

    Args:
        network: in whose modules the activations are looked for.
        run: calls the network on one image and returns its maps by point.
        points: stages.
    """
    outputs: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for name, module in network.named_modules():
            if isinstance(module, _ACTIVATIONS):

                def keep(module: nn.Module, inputs: object, output: Tensor, name: str = name) -> None:
                    outputs[name] = output.clone()

                stack.callback(module.register_forward_hook(keep).remove)
        maps = run()
    return {
        point: name
        for point in points
        for name, output in outputs.items()
        if output.shape == maps[point].shape and torch.equal(output, maps[point])
    }
