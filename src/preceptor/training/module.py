"""Networks and objectives in one module: what one step computes, and all of the state that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.networks.build import AnyNetwork
from preceptor.networks.classifier import Classifier
from preceptor.networks.mean_teacher import MeanTeacher
from preceptor.networks.memory_bank import MemoryBank
from preceptor.networks.output import NetworkOutput
from preceptor.networks.segmenter import Segmenter
from preceptor.recipe import Recipe
from preceptor.training.distributed import gather_rows
from preceptor.training.objectives import LossInputs, ObjectiveModule, build_banks, build_objectives


class DistillationModel(nn.Module):
    """The networks of a recipe and the objectives between them.

    Being one module it is wrapped once for several processes, and its state dict is the whole state of learning
    but the optimiser's.
    """

    def __init__(
        self,
        recipe: Recipe,
        networks: Mapping[str, AnyNetwork],
        objectives: list[ObjectiveModule],
        banks: Mapping[str, MemoryBank] | None = None,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.networks = nn.ModuleDict(networks)
        self.banks = nn.ModuleDict(banks or {})
        self.objectives = nn.ModuleDict({module.objective.name: module for module in objectives})
        calibrated = [name for name, network in recipe.networks.items() if network.calibrated]
        #: What divides the logits of calibrated teachers; 1 until they are fitted, before the first epoch.
        self.temperatures = nn.ParameterDict(
            {name: nn.Parameter(torch.ones(()), requires_grad=False) for name in calibrated}
        )

    def train(self, mode: bool = True) -> DistillationModel:
        """As in torch, but frozen networks stay in evaluation mode: a frozen teacher is the one that was evaluated."""
        super().train(mode)
        for name, network in self.recipe.networks.items():
            if network.frozen:  # its backbone at least
                self.networks[name].eval()
        return self

    def active(self, epoch: int) -> dict[str, float]:
        """Return the weights of the objectives that count in this epoch."""
        weights = {name: self.objective(name).weight(epoch) for name in self.objectives}
        return {name: weight for name, weight in weights.items() if weight}

    def needed(self, epoch: int) -> set[str]:
        """Return the networks that an objective reads in this epoch, and those with a memory bank; others are not run.

        Banks follow every step, whichever objective counts, so that one that starts later finds rows that were learned.
        """
        return {network for name in self.active(epoch) for network in self.objective(name).networks} | {*self.banks}

    def forward(
        self,
        views: Mapping[str, Tensor],
        labels: Tensor,
        rows: Tensor,
        rng_key: tuple[int, int, int],
        sizes: list[int],
        masks: Mapping[str, Tensor] | None = None,
        mixed: Mapping[str, float] | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Return the unweighted losses of the objectives that count in this epoch, by name; the projections that memory
        banks store after the step, by network; and the losses of critics, by the name of their objective.

        Args:
            views: the images of each network, (V·n, 3, S, S) in [0, 1], the upright views of all images first.
            labels, rows, rng_key, sizes, masks, mixed: see :class:`LossInputs`.
        """
        active = [self.objective(name) for name in self.active(rng_key[1])]
        needed = self.needed(rng_key[1])
        outputs = {
            name: self._forward(name, views[name], [point for term in active for point in term.features(name)])
            for name in self.networks
            if name in needed
        }
        classifiers = {name: network.classifier for name, network in self.networks.items()}
        with torch.autocast(labels.device.type, enabled=False):
            inputs = LossInputs(
                outputs=outputs,
                banks=self.banks,  # type: ignore[arg-type]
                labels=labels,
                rows=rows,
                masks=masks or {},
                rng_key=rng_key,
                sizes=sizes,
                classifiers=classifiers,  # type: ignore[arg-type]
                mixed=mixed or {},
            )
            losses = {objective.objective.name: objective(inputs) for objective in active}
            critics = {term.objective.name: term.critic_loss(inputs) for term in active if term.spec.critic}
        projections = {name: outputs[name].projection for name in self.banks if name in outputs}
        return losses, {name: g.detach()[: len(rows)] for name, g in projections.items() if g is not None}, critics

    def _forward(self, name: str, images: Tensor, features: list[str]) -> NetworkOutput:
        network = self.networks[name]
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.recipe.networks[name].frozen is not True):
            output: NetworkOutput = network(images, features=sorted(set(features))) if features else network(images)
        output = output.map_tensors(Tensor.float)
        if name in self.temperatures:
            output = replace(output, logits=output.logits / self.temperatures[name])
        return output

    def objective(self, name: str) -> ObjectiveModule:
        """Return an objective by its name in the recipe."""
        objective = self.objectives[name]
        assert isinstance(objective, ObjectiveModule)
        return objective

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """All that learning changes; a frozen network is in its own run's file and is not written again."""
        whole = super().state_dict(*args, **kwargs)
        return {key: value for key, value in whole.items() if not key.startswith(self._frozen())}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        frozen = {key: value for key, value in super().state_dict().items() if key.startswith(self._frozen())}
        return super().load_state_dict({**state_dict, **frozen}, strict, assign)

    def _frozen(self) -> tuple[str, ...]:
        return tuple(f"networks.{name}." for name, one in self.recipe.networks.items() if one.frozen is True)

    def after_batch(
        self, step: int, rows: Tensor, projections: Mapping[str, Tensor], sizes: list[int], stepped: bool
    ) -> None:
        """Update everything that follows a batch: memory banks, and after a step of the optimiser the mean teachers.

        Args:
            step: how many steps the run has taken before this batch, over all epochs.
            rows: (n,) rows of the training part in this process's share.
            projections: (n, d) of each network with a bank, from :meth:`forward`.
            sizes: images of each process in this batch.
            stepped: whether the optimiser has just stepped.
        """
        for name, projection in projections.items():
            bank = self.banks[name]
            assert isinstance(bank, MemoryBank)
            if len(sizes) > 1:
                bank.update(gather_rows(rows, sizes), gather_rows(projection, sizes))
            else:
                bank.update(rows, projection)
        for name, network in self.networks.items():
            if stepped and isinstance(network, MeanTeacher):
                student = self.networks[str(self.recipe.networks[name].mean_of)]
                assert isinstance(student, Classifier | Segmenter)
                network.update(student, step)


def assemble(recipe: Recipe, networks: dict[str, AnyNetwork], row_labels: Tensor, classes: int) -> DistillationModel:
    """Put networks, the objectives between them and their memory banks together, as before the first epoch.

    Args:
        row_labels: label of every image of the training part, (N,).
        classes: number of classes of the catalog.
    """
    objectives = build_objectives(recipe, networks, row_labels, classes)
    banks = build_banks(recipe, networks, objectives, row_labels, classes)
    return DistillationModel(recipe, networks, objectives, banks)
