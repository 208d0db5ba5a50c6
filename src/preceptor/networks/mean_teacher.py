"""The mean teacher: a network whose weights are the running average of another's.

A. Tarvainen and H. Valpola, "Mean teachers are better role models", NeurIPS 2017; in CRCKD (Xing et al. 2021)
θ' ← α·θ' + (1-α)·θ with α = min(1 - 1/(step+1), decay), step counting from 0.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from preceptor.networks.kinds import AnyArchitecture, Network
from preceptor.networks.output import NetworkOutput


class MeanTeacher(nn.Module):
    """A copy of ``student`` that follows it by :meth:`update` and takes no gradient in its backbone.

    Args:
        student: the network to average. Its projection head is copied with new weights of its own and not averaged:
            it describes the teacher, and contrastive losses train it.
        decay: upper bound of α.
        batch_norm: ``averaged`` keeps running averages of the student's batch-norm statistics too and always runs in
            evaluation mode. ``batch`` runs on the statistics of each batch while training and keeps running
            statistics of its own passes for evaluation (what CRCKD's released code amounts to).
            Averaged weights beside the student's latest statistics fit each other badly and predict near chance
            for epochs; torch's ``AveragedModel`` copies the student's unless told to average, hence not used here.
    """

    def __init__(self, student: Network, decay: float, batch_norm: Literal["averaged", "batch"] = "averaged") -> None:
        super().__init__()
        self.network = copy.deepcopy(student)
        for parameter in _averaged(self.network):
            parameter.requires_grad_(False)
        if self.network.projection is not None:
            self.network.projection.reset_parameters()
        self.decay, self.batch_norm = decay, batch_norm
        self._pairs: _Pairs | None = None

    @property
    def architecture(self) -> AnyArchitecture:
        return self.network.architecture

    @property
    def channels(self) -> int:
        return self.network.channels

    @property
    def embedding_size(self) -> int:
        return self.network.embedding_size

    @property
    def projection_size(self) -> int | None:
        return self.network.projection_size

    def train(self, mode: bool = True) -> MeanTeacher:
        super().train(mode)
        if self.batch_norm == "averaged":
            self.network.eval()
        return self

    @property
    def classifier(self) -> nn.Module:
        return self.network.classifier

    @property
    def feature_points(self) -> tuple[str, ...]:
        return self.network.feature_points

    def feature_channels(self, features: Sequence[str]) -> tuple[int, ...]:
        return self.network.feature_channels(features)

    def forward(self, images: Tensor, features: Sequence[str] = ()) -> NetworkOutput:
        with torch.no_grad():
            output = self.network.forward_features(images, features)
        return self.network.project(output)

    @torch.no_grad()
    def update(self, student: Network, step: int) -> None:
        """One step of the average, after the optimiser's step number ``step`` (from 0, where θ' becomes θ)."""
        alpha = min(1 - 1 / (step + 1), self.decay)
        if self._pairs is None or not self._pairs.are_of(self.network, student):
            mine, theirs = _averaged(self.network), _averaged(student)
            if self.batch_norm == "averaged":
                mine, theirs = mine + _statistics(self.network), theirs + _statistics(student)
            self._pairs = _Pairs(mine, theirs)
        torch._foreach_lerp_(self._pairs.mine, self._pairs.theirs, 1 - alpha)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MeanTeacher:
        self._pairs = None  # moved to another device or type, which gives it other buffers
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pairs": None}


@dataclass(frozen=True)
class _Pairs:
    """What the average moves and what it follows, looked up once: by name it takes longer than averaging.

    They are looked up again after the mean teacher has moved; a student is moved with it, or not at all.

    Attributes:
        mine, theirs: as many tensors of the same shapes.
    """

    mine: list[Tensor]
    theirs: list[Tensor]

    def are_of(self, network: nn.Module, student: nn.Module) -> bool:
        """Whether these are still the tensors of two networks, by the first parameter of each."""
        pairs = ((self.mine, network), (self.theirs, student))
        return all(tensors[0] is next(owner.parameters()) for tensors, owner in pairs)


def _averaged(network: nn.Module) -> list[Tensor]:
    """All parameters but the projection head's."""
    return [parameter for name, parameter in network.named_parameters() if not name.startswith("projection.")]


def _statistics(network: nn.Module) -> list[Tensor]:
    """The running statistics of batch norm."""
    return [buffer for name, buffer in network.named_buffers() if name.endswith(("running_mean", "running_var"))]
