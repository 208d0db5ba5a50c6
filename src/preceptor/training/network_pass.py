"""One network's passes in the mode that a recipe, or its measurement, gives it."""

from __future__ import annotations

import copy
import logging
import os
import shutil
import sys
import warnings
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
        self._compiled: Any = _compiled(self.network) if mode.compiled else None
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
    if mode.compiled and (missing := missing_compiler()):
        raise PreceptorError(
            f"precision: {mode} needs a compiler, and {missing}",
            expected="Triton and a C compiler for a GPU, a C++ compiler for a CPU",
            remedy="install it, or name another with the environment variable, or leave +compiled out",
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
    return not missing_compiler()


def missing_compiler() -> str:
    """What ``torch.compile`` uses here and does not find, as the end of a sentence; empty where it finds all.

    On a CPU torch calls what the variable CXX names or else one compiler, and looks for no other; on a GPU Triton calls
    what CC names, or else gcc or clang.
    """
    if torch.cuda.is_available():
        return _absent("CC", "gcc", "clang") if has_triton() else "this machine has no Triton"
    return _absent("CXX", {"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++"))


def _absent(variable: str, *defaults: str) -> str:
    named = os.environ.get(variable)
    if any(shutil.which(name) for name in ([named] if named is not None else defaults)):
        return ""
    if named is None:
        return f"this machine has no {' and no '.join(defaults)}"
    return f"the one that the environment variable {variable} names, {named!r}, is no program here"


def _compiled(network: nn.Module) -> Any:
    """The network, compiled at its first pass, then without torch's remarks on what is meant to be so.

    These are that there is no CUDA where a CUDA toolkit is installed, and that float32 is not TensorFloat-32.
    """
    logging.getLogger("torch.utils.cpp_extension").addFilter(_is_no_remark)
    warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores for float32", category=UserWarning)
    return torch.compile(network, dynamic=False)


def _is_no_remark(record: logging.LogRecord) -> bool:
    return "No CUDA runtime is found" not in record.getMessage()


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
