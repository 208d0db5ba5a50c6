"""Batch norms of a frozen network, folded into the convolutions before them.

In evaluation mode batch norm is y = γ·(x-μ)/√(σ²+ε) + β with constants, and so is a part of a convolution right before
it: W' = W·γ/√(σ²+ε), b' = β + (b-μ)·γ/√(σ²+ε) (Jacob et al. 2018, section 3.2). A batch norm behind anything else, such
as DenseNet's first in each layer, stays as it is.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from preceptor.networks.kinds import Network

_PLAIN = (nn.Conv2d, Conv2dSame)  # whose output is linear in the weights as they are stored
_EXACT = 1e-9  # relative, in float64, where a fold that fits leaves 1e-14 and another one much more


class FoldedNorm(nn.Module):
    """What is left of a batch norm: the dropout and activation that timm's layers hold, under the same names."""

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self.drop: nn.Module = getattr(norm, "drop", nn.Identity())
        self.act: nn.Module = getattr(norm, "act", nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(x))


def fold_batch_norms(network: Network, features: Sequence[str] = ()) -> tuple[Network, int]:
    """Return a copy in evaluation mode whose batch norms are folded where nothing else that is read changes.

    Outputs equal the network's but for rounding: each is compared in float64, and a fold that would change one of them,
    a feature point before its batch norm say, is left out.

    Args:
        network: is not changed.
        features: feature points that will be asked for.

    Returns:
        The copy, and how many batch norms were folded.

    >>> from preceptor.networks.classifier import Architecture, Classifier
    >>> grey = (0.5, 0.5, 0.5)
    >>> folded, layers = fold_batch_norms(Classifier(Architecture("resnet18", ("a", "b"), 64, grey, grey)))
    >>> layers
    20
    """
    exact = copy.deepcopy(network).eval().double().requires_grad_(False)
    expected = _outputs(exact, features)
    pairs = _pairs(exact, features)
    trial = _folded(exact, pairs)
    if not _agree(_outputs(trial, features), expected):
        kept: list[tuple[str, str]] = []
        for pair in pairs:
            if _agree(_outputs(_folded(exact, [*kept, pair]), features), expected):
                kept.append(pair)
        pairs, trial = kept, _folded(exact, kept)
    dtype = next(network.parameters()).dtype
    return trial.to(dtype).requires_grad_(False), len(pairs)


def _folded(network: Network, pairs: Sequence[tuple[str, str]]) -> Network:
    folded = copy.deepcopy(network)
    for conv_name, norm_name in pairs:
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, _BatchNorm)
        weight, bias = _fold(conv, norm)
        conv.weight, conv.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
        folded.set_submodule(norm_name, FoldedNorm(norm))
    return folded


def _fold(conv: nn.Conv2d, norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return W' and b'."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    bias = -shift * scale
    return conv.weight * scale.view(-1, 1, 1, 1), bias if norm.bias is None else bias + norm.bias


def _pairs(network: Network, features: Sequence[str]) -> list[tuple[str, str]]:
    """Return the names of convolutions and batch norms where the one's output, as it is, is the other's input.

    Modules that run more than once in a pass are left out.
    """
    produced: dict[int, tuple[str, Tensor]] = {}
    pairs: list[tuple[str, str]] = []
    runs: Counter[str] = Counter()

    def leave(name: str) -> object:
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            runs[name] += 1
            produced[id(output)] = name, output  # the tensor is kept, so that no other takes its id

        return hook

    def enter(name: str) -> object:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            runs[name] += 1
            if id(inputs[0]) in produced:
                pairs.append((produced[id(inputs[0])][0], name))

        return hook

    with ExitStack() as stack:
        for name, module in network.named_modules():
            if type(module) in _PLAIN:
                stack.callback(module.register_forward_hook(leave(name)).remove)  # type: ignore[arg-type]
            elif isinstance(module, _BatchNorm) and module.running_mean is not None:
                stack.callback(module.register_forward_pre_hook(enter(name)).remove)  # type: ignore[arg-type]
        _outputs(network, features)
    uses = Counter(conv for conv, _ in pairs)
    return [(conv, norm) for conv, norm in pairs if runs[conv] == runs[norm] == uses[conv] == 1]


@torch.no_grad()
def _outputs(network: Network, features: Sequence[str]) -> list[Tensor]:
    side = network.architecture.image_size
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)).to(network.mean)
    return (network(images, features=features) if features else network(images)).tensors()


def _agree(outputs: list[Tensor], expected: list[Tensor]) -> bool:
    return all(relative_error(value, wanted) <= _EXACT for value, wanted in zip(outputs, expected, strict=True))


def relative_error(value: Tensor, expected: Tensor) -> float:
    """Return ‖value - expected‖ / ‖expected‖, in float64; infinite where a value is not finite.

    >>> round(relative_error(torch.tensor([3.0, 4.5]), torch.tensor([3.0, 4.0])), 3)
    0.1
    """
    difference = (value.double() - expected.double()).norm().item()
    size = max(expected.double().norm().item(), torch.finfo(torch.float64).tiny)
    return difference / size if difference == difference else float("inf")
