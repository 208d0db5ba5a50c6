"""The training loop: epochs from the last checkpoint to the end of the recipe."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from preceptor.data.batches import Batch, Loader, epoch_batches, resampled, shard
from preceptor.evaluation.metrics import METRICS
from preceptor.recipe import ForwardMode, Recipe
from preceptor.tasks import TASKS
from preceptor.training.augment import make_views
from preceptor.training.batch_norm import synchronise
from preceptor.training.calibrate_teachers import calibrate_teachers
from preceptor.training.checkpoint import CheckpointStore, Progress
from preceptor.training.logging import Logger
from preceptor.training.module import DistillationModel
from preceptor.training.optimiser import Descent, build_critic_optimiser, build_optimiser
from preceptor.training.progress import Display
from preceptor.training.step import StepInputs
from preceptor.utils.errors import PreceptorError, PreceptorWarning
from preceptor.utils.randomness import global_generator, seed_of

#: Epochs whose mean is reported under ``protocol: paper``.
LAST_EPOCHS = 10
_REMEDY = "see whether all that it reads is frozen (frozen) or detached (in a loss of your own), or leave it out"


@dataclass
class Parts:
    """Loaders of the parts of the data; ``monitored`` is evaluated after each epoch (validation, or the test part under
    ``protocol: paper``)."""

    train: Loader
    monitored: Loader
    monitored_name: str
    classes: tuple[str, ...]


class Training:
    """One run in one process: holds what changes, and takes it through the epochs.

    Args:
        fabric: device, precision and the other processes.
        model: networks and objectives as they start.
        checkpoints: where the state is kept (by rank 0); one that holds a checkpoint is gone on from. None keeps none.
        logger: takes the row of each epoch (by rank 0).
        modes: how each network's passes are computed; as the recipe says unless given.
    """

    def __init__(
        self,
        fabric: Fabric,
        recipe: Recipe,
        model: DistillationModel,
        parts: Parts,
        checkpoints: CheckpointStore | None = None,
        logger: Logger | None = None,
        modes: Mapping[str, ForwardMode] | None = None,
    ) -> None:
        self.fabric, self.recipe, self.parts = fabric, recipe, parts
        self.checkpoints, self.logger = checkpoints, logger
        if recipe.batch_norm == "synchronised" and fabric.world_size > 1:
            synchronise(model)
        critics = build_critic_optimiser(recipe, model)
        self.model = model
        self.wrapped, self.optimiser, *rest = fabric.setup(
            model, build_optimiser(recipe, model), *([] if critics is None else [critics])
        )
        self.critics = rest[0] if rest else None
        self.modes = {name: recipe.mode(name) for name in recipe.networks} if modes is None else dict(modes)
        model.use_modes(self.modes, fabric.world_size)
        if recipe.teacher_cache is not None:
            model.use_teacher_cache(len(parts.train), recipe.teacher_cache, fabric.world_size)
        #: As many in every epoch, however each is drawn.
        self.steps_per_epoch = len(self.batches_of(0))
        self.descent = Descent(fabric, recipe, self.wrapped, self.optimiser, self.steps_per_epoch, self.critics)
        self.schedule = self.descent.schedule
        self._constant: set[str] = set()  # objectives of which it was said that they have no gradient
        self.progress = checkpoints.restore(self.state()) if checkpoints is not None else Progress()
        if self.progress.epoch == 0:  # else the checkpoint has them
            calibrate_teachers(fabric, model, parts.monitored)

    def state(self) -> dict[str, Any]:
        """Everything that a checkpoint holds besides the progress."""
        return {
            "model": self.model,
            "optimiser": self.optimiser,
            "schedule": self.schedule,
            "critic_optimiser": self.critics,
        }

    def batches_of(self, epoch: int) -> list[np.ndarray]:
        """Draw the batches of an epoch, each over all processes; the work grows with the training part."""
        recipe = self.recipe
        rows = resampled(self.parts.train.labels, recipe.resample, recipe.seed, epoch)
        batches = epoch_batches(len(rows), recipe.batch_size, recipe.seed, epoch, self.fabric.world_size)
        if recipe.drop_last:
            size = min(recipe.batch_size, len(rows))
            batches = [batch[:size] for batch in batches if len(batch) >= size]
        return [rows[batch] for batch in batches]

    @property
    def done(self) -> bool:
        patience = self.recipe.early_stop
        return self.progress.epoch >= self.recipe.epochs or (patience is not None and self.progress.stale >= patience)

    def fit(self, display: Display, on_epoch: Callable[[Progress], object] | None = None) -> Progress:
        """Train until :attr:`done`, with a checkpoint after every epoch.

        Args:
            on_epoch: called by rank 0 after each checkpoint.
        """
        display.start(self.recipe, self.progress.epoch, self.steps_per_epoch)
        while not self.done:
            began = time.perf_counter()
            epoch = self.progress.epoch
            row = {"epoch": epoch + 1, **self.train_epoch(epoch, display), **self.validate(epoch)}
            seconds = time.perf_counter() - began
            self.progress.seconds += seconds
            self.progress.history.append({**row, "seconds": round(seconds, 3)})
            self.save(on_epoch)
            display.epoch(self.progress)
        return self.progress

    def train_epoch(self, epoch: int, display: Display) -> dict[str, float]:
        """One pass over the training part; the mean of each objective, its weight and the learning rate.

        Raises:
            PreceptorError: an objective became NaN or infinite, or none has a gradient; the last checkpoint stays.
        """
        self.wrapped.train()
        weights = self.model.active(epoch)
        if not weights:
            raise PreceptorError(
                f"objectives: all weights are 0 in epoch {epoch + 1}", expected="something to learn from"
            )
        sums = dict.fromkeys(weights, torch.zeros((), device=self.fabric.device))
        constant = set(weights)
        shares: list[dict[str, torch.Tensor]] = []  # of each step, to find the first that is not finite
        batches = self.batches_of(epoch)
        shown = sum(map(len, batches))
        shards = [shard(batch, self.fabric.global_rank, self.fabric.world_size) for batch in batches]
        for step, batch in enumerate(self.parts.train.batches(shards)):
            losses = self.step(batch, batches[step], epoch, step, weights)
            constant -= {name for name, loss in losses.items() if loss.requires_grad}
            share = len(batches[step]) / shown
            shares.append({name: share * loss.detach() for name, loss in losses.items()})
            sums = {name: sums[name] + part for name, part in shares[-1].items()}
            display.step()
        means = self._means(sums)
        self._check_finite(means, shares, epoch)
        self._warn_of_constant(sorted(constant), epoch)
        total = sum(weights[name] * mean for name, mean in means.items())
        return {
            "lr": self.optimiser.param_groups[0]["lr"],
            "loss": total,
            **{f"loss/{name}": mean for name, mean in means.items()},
            **{f"weight/{name}": weight for name, weight in weights.items()},
            **{f"temperature/{name}": float(fitted) for name, fitted in self.model.temperatures.items()},
        }

    def step(
        self, batch: Batch, whole: np.ndarray, epoch: int, step: int, weights: dict[str, float]
    ) -> dict[str, torch.Tensor]:
        """One step of the optimiser and all that follows it. Nothing is read back from the device.

        Args:
            batch: this process's share of ``whole``, the rows of the global batch.
        """
        rng_key = (self.recipe.seed, epoch, step)
        world, rank = self.fabric.world_size, self.fabric.global_rank
        sizes = [len(part) for part in np.array_split(whole, world)]
        with global_generator():  # to the end of the backward pass, which may compute layers with dropout again
            torch.manual_seed(seed_of(*rng_key, "dropout", rank))
            views = make_views(self.recipe, self.model.needed(epoch), batch, len(whole), rng_key, rank, world)
            mine = shard(whole, rank, world)
            outputs = self.wrapped(StepInputs(views, batch.labels, batch.rows, rng_key, sizes, mine))
            terms = [weights[name] * loss for name, loss in outputs.losses.items()]
            loss = torch.stack([*terms, *outputs.critic_losses.values()]).sum()
            if not loss.requires_grad:
                raise PreceptorError(
                    f"objectives: none of {', '.join(weights)} has a gradient in epoch {epoch + 1}, so that nothing is "
                    "learned",
                    expected="a loss that depends on parameters that are trained",
                    remedy=_REMEDY,
                )
            stepped = self.descent.backward(loss, step)
        self.model.after_batch(self.progress.step, batch.rows, outputs.projections, sizes, stepped)
        self.progress.step += stepped
        return outputs.losses  # type: ignore[no-any-return]

    def validate(self, epoch: int) -> dict[str, float]:
        """Metrics of every network that changes, on the monitored part; drives plateau, selection and early stop."""
        self._average_batch_norm()
        paper = self.recipe.protocol == "paper"
        if paper and epoch < self.recipe.epochs - LAST_EPOCHS:
            return {}
        row: dict[str, float] = {}
        if self.fabric.is_global_zero:
            row = self._measure()
        row = self.fabric.broadcast(row)
        if not paper:
            self._select(self._value(row, epoch), epoch)
            if self.recipe.select.epoch == "each":
                self._select_each(row, epoch)
        return row

    def _measure(self) -> dict[str, float]:
        changing = {n: self.model.networks[n] for n, config in self.recipe.networks.items() if config.predicts_anew}
        loader, task = self.parts.monitored, TASKS[self.recipe.task]
        paper = self.recipe.protocol == "paper"  # its figures are means over the monitored epochs, costly ones too
        evaluation = task.evaluate(
            changing,
            loader,
            [""] * len(loader),
            self.parts.classes,
            self.parts.monitored_name,
            ensembles=self.recipe.ensembles,
            batch_size=max(self.recipe.batch_size, 64),
            relations=False,
            metrics=task.metrics if paper else task.monitored_metrics(self.recipe.select.metric),
        )
        row = {}
        for name, metrics in evaluation.metrics.items():
            scalars = {key: value for key, value in metrics.items() if isinstance(value, float)}
            row.update({f"{self.parts.monitored_name}/{name}/{key}": value for key, value in scalars.items()})
        return row

    def _value(self, row: dict[str, float], epoch: int) -> float:
        """What the epoch is judged by; the higher the better."""
        select = self.recipe.select
        if select.metric == "last":
            return float(epoch)
        return float(np.mean([self._value_of(name, row, epoch) for name in select.networks]))

    def _value_of(self, network: str, row: dict[str, float], epoch: int) -> float:
        select = self.recipe.select
        column = f"validation/{network}/{select.metric}"
        if column not in row:
            raise PreceptorError(
                f"select.metric: {column} is undefined in epoch {epoch + 1}",
                expected="a metric that the validation part has",
                remedy="choose another select.metric, or a larger split.validation",
            )
        return row[column] if METRICS[select.metric].higher_is_better else -row[column]

    def _select(self, value: float, epoch: int) -> None:
        progress = self.progress
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(value if self.schedule.mode == "max" else -value)
        if progress.best is None or value > progress.best:
            progress.best, progress.best_epoch, progress.stale = value, epoch + 1, 0
            if self.checkpoints is not None and self.fabric.is_global_zero:
                self.checkpoints.save_best(epoch + 1, self.model)
        else:
            progress.stale += 1

    def _select_each(self, row: dict[str, float], epoch: int) -> None:
        """Save the weights of each trained network whose own metric is its best so far."""
        best = self.progress.best_each
        for name, network in self.recipe.networks.items():
            value = self._value_of(name, row, epoch) if network.predicts_anew else None
            if value is not None and (name not in best or value > best[name][0]):
                best[name] = (value, epoch + 1)
                if self.checkpoints is not None and self.fabric.is_global_zero:
                    self.checkpoints.save_best_of(name, epoch + 1, self.model.networks[name])

    def save(self, on_epoch: Callable[[Progress], object] | None = None) -> None:
        """End an epoch: write the checkpoint first, since tables and logs can be written again from it."""
        self.progress.epoch += 1
        if self.fabric.is_global_zero:
            if self.checkpoints is not None:
                self.checkpoints.save(self.progress, self.state())
            if on_epoch is not None:
                on_epoch(self.progress)
            if self.logger is not None:
                self.logger.write(self.progress.history[-1])
        self.fabric.barrier()

    def _means(self, sums: dict[str, torch.Tensor]) -> dict[str, float]:
        stacked = self.fabric.all_reduce(torch.stack(list(sums.values())), reduce_op="mean")
        return dict(zip(sums, stacked.tolist(), strict=True))  # type: ignore[union-attr]

    def _check_finite(self, means: dict[str, float], shares: list[dict[str, torch.Tensor]], epoch: int) -> None:
        broken = [name for name, mean in means.items() if not math.isfinite(mean)]
        if broken:
            steps = self._first_broken(broken, shares)
            broken.sort(key=steps.__getitem__)  # the first spoils the weights, and with them all others
            together = [name for name in broken[1:] if steps[name] == steps[broken[0]]]
            later = broken[1 + len(together) :]
            kept = f"; epoch {epoch} is kept in {self.checkpoints.last}" if epoch and self.checkpoints else ""
            raise PreceptorError(
                f"objectives.{broken[0]}: the loss became {means[broken[0]]} in epoch {epoch + 1}"
                + (f" (with {', '.join(together)})" if together else "")
                + (f" (and then {', '.join(later)})" if later else "")
                + kept,
                expected="a finite loss",
                remedy=f"lower optimiser.lr (now {self.recipe.optimiser.lr:g}) or objectives.{broken[0]}.weight"
                + (", or set precision=float32" if any(m.number != "float32" for m in self.modes.values()) else ""),
            )

    def _warn_of_constant(self, names: list[str], epoch: int) -> None:
        """Warn, once of each, of objectives without a gradient in a whole epoch: they count, and teach nothing."""
        for name in names:
            if name not in self._constant and self.fabric.is_global_zero:
                warnings.warn(
                    f"objectives.{name}: the loss has no gradient in any step of epoch {epoch + 1}, so that nothing is "
                    f"learned from it; {_REMEDY}",
                    PreceptorWarning,
                    stacklevel=2,
                )
            self._constant.add(name)

    def _first_broken(self, names: list[str], shares: list[dict[str, torch.Tensor]]) -> dict[str, int]:
        """Return the step in which each loss was first NaN or infinite in any process; the number of steps if never."""
        values = torch.stack([torch.stack([share[name] for name in names]) for share in shares])
        steps = torch.arange(len(shares), device=values.device)[:, None]
        own = torch.where(values.isfinite(), len(shares), steps).amin(0)
        every = self.fabric.all_gather(own).view(-1, len(names)).amin(0)  # type: ignore[union-attr]
        return dict(zip(names, every.tolist(), strict=True))

    def _average_batch_norm(self) -> None:
        """Each process has seen its own shards; evaluation and checkpoints use the mean of their statistics."""
        if self.fabric.world_size == 1:
            return
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
                for name in ("running_mean", "running_var"):
                    buffer = getattr(module, name)
                    buffer.copy_(self.fabric.all_reduce(buffer.clone(), reduce_op="mean"))
