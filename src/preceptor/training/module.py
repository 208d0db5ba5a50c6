"""Networks and objectives in one module: what one step computes, and all of the state that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.views import reachable_orientations
from preceptor.networks.build import AnyNetwork
from preceptor.networks.classifier import Classifier
from preceptor.networks.mean_teacher import MeanTeacher
from preceptor.networks.memory_bank import MemoryBank
from preceptor.networks.output import NetworkOutput
from preceptor.networks.segmenter import Segmenter
from preceptor.recipe import ForwardMode, Recipe
from preceptor.training.distributed import gather_rows
from preceptor.training.network_pass import NetworkPass, check_mode
from preceptor.training.objectives import LossInputs, ObjectiveModule, build_banks, build_objectives
from preceptor.training.step import StepInputs, StepOutputs
from preceptor.training.teacher_cache import TeacherCache


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
        self._caches: dict[str, TeacherCache] = {}
        self._passes = {name: self._pass(name, ForwardMode(), 1) for name in self.networks}

    def train(self, mode: bool = True) -> DistillationModel:
        """As in torch, but frozen networks stay in evaluation mode: a frozen teacher is the one that was evaluated."""
        super().train(mode)
        for name, network in self.recipe.networks.items():
            if network.frozen:  # its backbone at least
                self.networks[name].eval()
        return self

    def use_modes(self, modes: Mapping[str, ForwardMode], world: int = 1) -> None:
        """Run each network in its mode from now on. Called once the model lies on its device.

        Args:
            world: processes that share each batch.

        Raises:
            PreceptorError: a mode that this machine, or a run in several processes, does not have.
        """
        for mode in modes.values():
            check_mode(mode, world)
        self._passes |= {name: self._pass(name, mode, world) for name, mode in modes.items()}

    def use_teacher_cache(self, rows: int, gibibytes: float, world: int = 1) -> None:
        """Compute what frozen networks give of each view of each image once from now on.

        Args:
            rows: images of the training part.
            gibibytes: of memory for all of them in this process.
            world: processes that share each batch.
        """
        frozen = [name for name, network in self.recipe.networks.items() if network.frozen is True]
        for name in frozen:
            view, transforms = self.recipe.views[self.recipe.draw(name)], self.recipe.transforms(name)
            fields = {field for term in self.objectives for field in self.objective(term).outputs(name)}
            self._caches[name] = TeacherCache(
                name,
                rows,
                gibibytes / len(frozen),
                fields | ({"projection"} if name in self.banks else set()),
                images=self._images_a_step(name, world),
                reachable=reachable_orientations(view.resolved(), transforms, view.extra()),
            )

    def _pass(self, name: str, mode: ForwardMode, world: int) -> NetworkPass:
        return NetworkPass(
            self.networks[name],  # type: ignore[arg-type]
            mode,
            frozen=self.recipe.networks[name].frozen is True,
            features=self.feature_points(name),
            images=self._images_a_step(name, world),
        )

    def _images_a_step(self, name: str, world: int) -> int:
        """Return how many images a network is given in a step of one of ``world`` processes, transformed ones too."""
        return self.recipe.batch_size // world * (1 + len(self.recipe.transforms(name)))

    def feature_points(self, network: str) -> tuple[str, ...]:
        """Return the feature points of a network that any objective reads, whatever the epoch."""
        return tuple(sorted({point for name in self.objectives for point in self.objective(name).features(network)}))

    def active(self, epoch: int) -> dict[str, float]:
        """Return the weights of the objectives that count in this epoch."""
        weights = {name: self.objective(name).weight(epoch) for name in self.objectives}
        return {name: weight for name, weight in weights.items() if weight}

    def needed(self, epoch: int) -> set[str]:
        """Return the networks that an objective reads in this epoch, and those with a memory bank; others are not run.

        Banks follow every step, whichever objective counts, so that one that starts later finds rows that were learned.
        """
        return {network for name in self.active(epoch) for network in self.objective(name).networks} | {*self.banks}

    def forward(self, step: StepInputs) -> StepOutputs:
        """Run the networks that this epoch needs, and compute its objectives from their outputs, in float32."""
        views, epoch = step.views, step.rng_key[1]
        active = [self.objective(name) for name in self.active(epoch)]
        needed = self.needed(epoch)
        outputs = {name: self._output(name, step, active) for name in self.networks if name in needed}
        classifiers = {name: network.classifier for name, network in self.networks.items()}
        with torch.autocast(step.labels.device.type, enabled=False):
            inputs = LossInputs(
                outputs=outputs,
                banks=self.banks,  # type: ignore[arg-type]
                labels=step.labels,
                rows=step.rows,
                masks=views.masks,
                rng_key=step.rng_key,
                sizes=step.sizes,
                classifiers=classifiers,  # type: ignore[arg-type]
                mixed=views.mixed,
            )
            losses = {objective.objective.name: objective(inputs) for objective in active}
            critics = {term.objective.name: term.critic_loss(inputs) for term in active if term.spec.critic}
        projections = {name: outputs[name].projection for name in self.banks if name in outputs}
        stored = {name: rows.detach()[: len(step.rows)] for name, rows in projections.items() if rows is not None}
        return StepOutputs(losses, stored, critics)

    def _output(self, name: str, step: StepInputs, active: list[ObjectiveModule]) -> NetworkOutput:
        run, images = self._passes[name], step.views.images[name]
        if name in self._caches:
            assert step.host_rows is not None
            points = self.feature_points(name)  # of all epochs, since what is kept serves them all
            orientations = step.views.orientations[name]
            output = self._caches[name](lambda views: run(views, points), images, step.host_rows, orientations)
        else:
            output = run(images, sorted({point for term in active for point in term.features(name)}))
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
        return tuple(f"networks.{name}." for name, config in self.recipe.networks.items() if config.frozen is True)

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
