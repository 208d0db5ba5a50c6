"""Time a few real steps of each kind of recipe, to estimate runs of which none has been trained yet."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

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
#: Seconds for all recipes together; those without a turn by then stay unknown, and the last one may end later.
BUDGET = 30.0
#: Seconds for the whole batches of one recipe; where a single one would take longer, small ones stand for them.
TURN = 3.0
_BATCH = 64  # images of a batch in evaluation
#: Settings without influence on the time of a step.
_IRRELEVANT = {"name", "paper", "seed", "epochs", "split", "select", "early_stop", "optimiser", "schedule"}


@dataclass(frozen=True)
class Timed:
    """What was found out about the length of runs.

    Attributes:
        seconds: identity → seconds that a run takes on this machine, alone: training, validation and test, without its
            start and its report.
        unknown: identity → why it was not timed.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)


def time_runs(runs: Iterable[PlannedRun], catalog: Catalog, threads: int, budget: float = BUDGET) -> Timed:
    """Time a few steps of each kind of recipe, the most frequent first.

    They see a synthetic image and random weights, which cost the same; no image is decoded and nothing is written.
    Runs without a turn, or whose networks cannot be built here, stay unknown.

    Args:
        catalog: only its labels and groups are used.
        threads: CPU threads of a cell.
        budget: seconds for all kinds together; one that has begun is timed to its end.
    """
    runs = list(runs)
    kinds = {planned.identity: _kind(planned.recipe) for planned in runs}
    frequency = Counter(kinds.values())
    paces: dict[str, _Pace | str] = {}
    evaluations: dict[str, float] = {}
    timed, before, began = Timed(), torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(threads)
    try:
        for planned in sorted(runs, key=lambda planned: -frequency[kinds[planned.identity]]):
            kind, recipe = kinds[planned.identity], planned.recipe
            part = parts_of(split_of(catalog, recipe, planned.fold), catalog.table["id"])
            labels = TASKS[recipe.task].targets(catalog)[training_rows(part, recipe.unlabelled)]
            if kind not in paces and time.perf_counter() - began < budget:
                paces[kind] = _pace(recipe, catalog, labels, evaluations)
            pace = paces.get(kind, f"timing ended after {budget:.0f} s, before their recipe had its turn")
            if isinstance(pace, str):
                timed.unknown[planned.identity] = pace
                continue
            trained = recipe.epochs * len(resampled(labels, recipe.resample, recipe.seed, 0))
            validations = recipe.epochs + 1 if recipe.protocol == "grouped" else 1
            evaluated = validations * (part == "validation").sum() + (part == "test").sum()
            timed.seconds[planned.identity] = float(trained * pace.training + evaluated * pace.evaluation)
    finally:
        torch.set_num_threads(before)
    return timed


@dataclass(frozen=True)
class _Pace:
    """Seconds an image takes in training, and in evaluation by all networks."""

    training: float
    evaluation: float


def _kind(recipe: Recipe) -> str:
    settings = {key: value for key, value in recipe.plain().items() if key not in _IRRELEVANT}
    for name, network in settings["networks"].items():
        settings["networks"][name] = {**network, "pretrained": None, "trained_by": None}
    return json.dumps(settings, sort_keys=True, default=str)


def _pace(recipe: Recipe, catalog: Catalog, labels: NDArray[np.int64], evaluations: dict[str, float]) -> _Pace | str:
    """The pace of a recipe, or why it cannot be found out.

    Args:
        evaluations: seconds an image takes in evaluation, of networks that were timed for other recipes; gains those of
            this one.
    """
    try:
        training = _training(recipe, catalog, labels)
        return _Pace(_time_training(training), _time_evaluation(training, evaluations))
    except PreceptorError as error:
        return error.what
    except RuntimeError as error:  # a GPU without room beside what runs there now
        return f"{type(error).__name__}: {error}".splitlines()[0]


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
    first = _seconds(step)  # which sets things up; where it is long all the same, that is a small part of it
    long = first > TURN / 2 and not torch.cuda.is_available()
    small = (first if long else _seconds(step)) / len(rows[:LEAST])
    if small * len(rows) > TURN:  # small batches cost more per image, so this estimate is on the safe side
        return small
    step, times = steps(rows), [small * len(rows)]
    while len(times) <= 1 + STEPS and sum(times[1:]) < TURN:
        times.append(_seconds(step))
    return min(times) / len(rows)


def _time_evaluation(training: Training, known: dict[str, float]) -> float:
    """Seconds an image takes in evaluation by all networks; each kind of network is timed once."""
    recipe, seconds = training.recipe, 0.0
    for name, network in training.model.networks.items():
        key = _same_cost(recipe, name)
        if key not in known:
            known[key] = _time_network(network, training)
        seconds += known[key]
    return seconds


def _time_network(network: nn.Module, training: Training) -> float:
    def evaluate(images: int) -> float:
        (batch,) = training.parts.train.batches([np.arange(min(len(training.parts.train), images))])
        with evaluating(network), torch.no_grad():
            return _seconds(lambda: network(batch.images.float() / 255)) / len(batch)

    small = evaluate(LEAST)
    return small if small * _BATCH > TURN else min(small, evaluate(_BATCH))


def _same_cost(recipe: Recipe, name: str) -> str:
    """Equal for networks that cost the same in evaluation, as one and its running mean."""
    network = recipe.networks[name]
    while network.mean_of is not None:
        network = recipe.networks[network.mean_of]
    weights = {"frozen", "calibrated"} | ({"pretrained", "trained_by"} if network.backbone is not None else set())
    settings = network.model_dump(mode="json", exclude=weights)
    return json.dumps([settings, recipe.image_size, recipe.task], sort_keys=True)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
