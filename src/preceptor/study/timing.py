"""Time a few real steps of each kind of recipe, to estimate runs of which none has been trained yet."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from preceptor.data.batches import LEAST, Loader, resampled
from preceptor.data.cache import Pixels
from preceptor.data.catalog import Catalog
from preceptor.data.split import parts_of, training_rows
from preceptor.networks.build import build_networks
from preceptor.networks.modes import evaluating
from preceptor.recipe import Recipe
from preceptor.recipe.optimisation import Constant
from preceptor.runs.create import split_of
from preceptor.runs.dependencies import PlannedRun
from preceptor.tasks import TASKS
from preceptor.training.distributed import warm_up
from preceptor.training.loop import Parts, Training
from preceptor.training.module import assemble
from preceptor.utils.errors import PreceptorError

STEPS = 3
#: Seconds for all recipes together; those without a turn by then stay unknown.
BUDGET = 60.0
#: Seconds for the whole batches of one recipe; where a single one would take longer, small ones stand for them.
TURN = 3.0
_BATCH = 64  # images of a batch in evaluation
#: Settings without influence on the time of a step.
_IRRELEVANT = {"name", "paper", "seed", "epochs", "split", "select", "early_stop", "optimiser", "schedule"}


def time_runs(runs: Iterable[PlannedRun], catalog: Catalog, threads: int, budget: float = BUDGET) -> dict[str, float]:
    """Identity → seconds that a run takes on this machine, alone: training, validation and test.

    Each kind of recipe is timed once, the most frequent first, on a synthetic image and random weights, which cost the
    same; no image is decoded and nothing is written.

    Args:
        catalog: only its labels and groups are used.
        threads: CPU threads of a cell.
        budget: seconds for all kinds together.

    Returns:
        Nothing for runs without a turn, or whose networks cannot be built here; the runs will say why.
    """
    runs = list(runs)
    kinds = {planned.identity: _kind(planned.recipe) for planned in runs}
    frequency = Counter(kinds.values())
    paces: dict[str, tuple[float, float] | None] = {}
    seconds, before, began = {}, torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(threads)
    try:
        for planned in sorted(runs, key=lambda planned: -frequency[kinds[planned.identity]]):
            kind, recipe = kinds[planned.identity], planned.recipe
            part = parts_of(split_of(catalog, recipe, planned.fold), catalog.table["id"])
            labels = TASKS[recipe.task].targets(catalog)[training_rows(part, recipe.unlabelled)]
            if kind not in paces and time.perf_counter() - began < budget:
                paces[kind] = _pace(recipe, catalog, labels)
            if pace := paces.get(kind):
                trained = recipe.epochs * len(resampled(labels, recipe.resample, recipe.seed, 0))
                validations = recipe.epochs + 1 if recipe.protocol == "grouped" else 1
                evaluated = validations * (part == "validation").sum() + (part == "test").sum()
                seconds[planned.identity] = float(trained * pace[0] + evaluated * pace[1])
    finally:
        torch.set_num_threads(before)
    return seconds


def _kind(recipe: Recipe) -> str:
    settings = {key: value for key, value in recipe.plain().items() if key not in _IRRELEVANT}
    for name, network in settings["networks"].items():
        settings["networks"][name] = {**network, "pretrained": None, "trained_by": None}
    return json.dumps(settings, sort_keys=True, default=str)


def _pace(recipe: Recipe, catalog: Catalog, labels: NDArray[np.int64]) -> tuple[float, float] | None:
    """Seconds an image takes in training, and in evaluation by all networks."""
    try:
        training = _training(recipe, catalog, labels)
        return _time_training(training), _time_evaluation(training)
    except (PreceptorError, RuntimeError):  # RuntimeError: a GPU without room beside what runs there now
        return None


def _training(recipe: Recipe, catalog: Catalog, labels: NDArray[np.int64]) -> Training:
    fabric = Fabric(accelerator="auto", devices=1)
    warm_up()
    task, size = TASKS[recipe.task], recipe.image_size
    classes = task.classes(catalog)
    untrained = {
        name: network.model_copy(update={"pretrained": "none"}) if network.backbone is not None else network
        for name, network in recipe.networks.items()
    }
    networks, _ = build_networks(untrained, classes, size, recipe.seed, task.network)
    image = np.random.default_rng(0).integers(0, 256, (1, 3, size, size), dtype=np.uint8)
    images = np.broadcast_to(image, (len(labels), 3, size, size))  # one image in memory, whatever their number
    masks = np.broadcast_to(image[:, 0] % len(classes), (len(labels), size, size))
    pixels = Pixels(images, masks if task.needs_masks else None, "")
    loader = Loader(pixels, labels, np.arange(len(labels)), fabric.device)
    # Other schedules end after as many steps as a run has; a temperature would be fitted on all images.
    plain = {name: network.model_copy(update={"calibrated": False}) for name, network in recipe.networks.items()}
    recipe = recipe.model_copy(update={"schedule": Constant(), "networks": plain})
    model = assemble(recipe, networks, torch.from_numpy(labels), len(catalog.classes))
    return Training(fabric, recipe, model, Parts(loader, loader, "train", classes))


def _time_training(training: Training) -> float:
    epoch = training.recipe.epochs // 2  # ramps of weights have begun by then
    weights, rows = training.model.active(epoch), training.batches_of(epoch)[0]
    training.wrapped.train()

    def steps(rows: NDArray[np.int64]) -> Callable[[], object]:
        (batch,) = training.parts.train.batches([rows])
        return lambda: training.step(batch, rows, epoch, 0, weights)

    step = steps(rows[:LEAST])
    step()  # the first one sets things up
    small = _seconds(step) / len(rows[:LEAST])
    if small * len(rows) > TURN:  # small batches cost more per image, so this estimate is on the safe side
        return small
    step, times = steps(rows), [small * len(rows)]
    while len(times) <= 1 + STEPS and sum(times[1:]) < TURN:
        times.append(_seconds(step))
    return min(times) / len(rows)


def _time_evaluation(training: Training) -> float:
    (batch,) = training.parts.train.batches([np.arange(min(len(training.parts.train), _BATCH))])
    images = batch.images.float() / 255

    def evaluate() -> None:
        for network in training.model.networks.values():
            with evaluating(network), torch.no_grad():
                network(images)

    return _seconds(evaluate) / len(batch)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
