"""One network's passes in the mode that a recipe, or its measurement, gives it."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._triton import has_triton

from preceptor.networks.build import AnyNetwork
from preceptor.networks.folding import fold_batch_norms
from preceptor.networks.kinds import Network
from preceptor.networks.output import NetworkOutput
from preceptor.recipe import ForwardMode, Recipe
from preceptor.training.graphed_pass import GraphedPass
from preceptor.utils.errors import PreceptorError


class NetworkPass:
    """Runs a network in a :class:`ForwardMode`. Outputs are float32, and gradients reach its own float32 weights.

    Args:
        network: where it lies on its device. A frozen one is copied where the mode needs other weights than its own.
        frozen: whether it never changes; then it also runs without autograd.
        features: every feature point that may be asked for.
        images: views in a whole batch. A compiled or graphed network runs batches of another size as it is, since each
            size would be compiled or recorded anew.

    Raises:
        PreceptorError: the mode is compiled, and there is no compiler; or it is graphed, and there is no GPU.
    """

    def __init__(
        self,
        network: AnyNetwork,
        mode: ForwardMode,
        *,
        frozen: bool = False,
        features: Sequence[str] = (),
        images: int | None = None,
    ) -> None:
        if mode.folded and not frozen:
            raise ValueError(f"{mode}: the batch norms of a network that changes cannot be folded")
        check_mode(mode)
        self.mode, self.frozen, self.images = mode, frozen, images
        self.network: nn.Module = _prepared(network, mode, features) if frozen else network
        self._compiled: Any = torch.compile(self.network, dynamic=False) if mode.compiled else None
        self._graphed: dict[tuple[Any, ...], GraphedPass] = {}

    def __call__(self, images: Tensor, features: Sequence[str] = ()) -> NetworkOutput:
        if self.mode.graphed and len(images) == self.images:
            return self._recorded(images, tuple(features))(images)
        return self._pass(images, features)

    def _recorded(self, images: Tensor, features: tuple[str, ...]) -> GraphedPass:
        """The pass as it is now: for these features, in training or evaluation, with autograd or without."""
        key = (features, images.shape, images.dtype, self.network.training, torch.is_grad_enabled())
        if key not in self._graphed:
            self._graphed[key] = GraphedPass(partial(self._pass, features=features), self.network, images)
        return self._graphed[key]

    def _pass(self, images: Tensor, features: Sequence[str] = ()) -> NetworkOutput:
        whole = self._compiled is not None and len(images) == self.images
        network = self._compiled if whole else self.network
        with (
            torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen),
            torch.autocast(images.device.type, torch.bfloat16, enabled=self.mode.number == "bf16"),
        ):
            output: NetworkOutput = network(images, features=features) if features else network(images)
        return output.map_tensors(Tensor.float)


def check_modes(recipe: Recipe, processes: int = 1) -> None:
    """Refuse a recipe with a mode that this machine does not have, as :func:`check_mode` does."""
    for name in recipe.networks:
        check_mode(recipe.mode(name), processes)


def check_mode(mode: ForwardMode, processes: int = 1) -> None:
    """Refuse a mode that this machine does not have.

    Raises:
        PreceptorError: it is compiled, and there is no compiler; or it is graphed, and there is no GPU or there are
            several processes.
    """
    if mode.compiled and not has_compiler():
        raise PreceptorError(
            f"precision: {mode} needs a compiler, and this machine has none",
            expected="Triton for a GPU, g++ or clang++ for a CPU",
            remedy="install one, or leave +compiled out",
        )
    if mode.graphed and not has_gpu():
        raise PreceptorError(f"precision: {mode} needs a GPU, and torch sees none", remedy="leave +graphed out")
    if mode.graphed and processes > 1:
        raise PreceptorError(
            f"precision: {mode} is for one process, not {processes}",
            remedy="leave +graphed out, or train in one process",
        )


def has_gpu() -> bool:
    """Whether torch sees a GPU, which CUDA graphs need."""
    return torch.cuda.is_available()


def has_compiler() -> bool:
    """Whether ``torch.compile`` can build code here: by Triton on a GPU, by a C++ compiler without one."""
    if torch.cuda.is_available():
        return has_triton()
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


def _prepared(network: AnyNetwork, mode: ForwardMode, features: Sequence[str]) -> nn.Module:
    """A frozen network with the weights of a mode: folded, or cast once to what autocast would cast them to."""
    if mode.folded:
        assert isinstance(network, Network)
        prepared, _ = fold_batch_norms(network, features)
    elif mode.number == "bf16":
        prepared = copy.deepcopy(network)  # type: ignore[assignment]
    else:
        return network
    if mode.number == "bf16":
        for module in prepared.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(torch.bfloat16)
    return prepared
