"""How long runs will take of which none has been made yet: from a few real steps of each kind."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import torch
from lightning_fabric import Fabric

from preceptor.data.batches import LEAST, Loader, resampled
from preceptor.data.cache import Pixels
from preceptor.data.catalog import Catalog
from preceptor.data.split import parts_of
from preceptor.evaluation.cost import evaluating
from preceptor.networks.build import build_networks
from preceptor.recipe import Recipe
from preceptor.recipe.optimisation import Constant
from preceptor.runs.create import split_of
from preceptor.study.matrix import Job
from preceptor.tasks import TASKS
from preceptor.training.distributed import precision_of, warm_up
from preceptor.training.loop import Parts, Training
from preceptor.training.module import DistillationModel
from preceptor.training.objectives import build_banks, build_objectives
from preceptor.utils.errors import PreceptorError

STEPS = 3
#: Seconds for all recipes together; those that have no turn by then stay unknown.
BUDGET = 60.0
#: Seconds for the steps of one recipe; where whole batches would take longer, small ones stand for them.
TURN = 3.0
_BATCH = 64  # images at a time in evaluation, as a run has them at least
#: What changes nothing of how long a step takes.
_IDLE = {"name", "paper", "seed", "epochs", "split", "select", "early_stop", "optimiser", "schedule"}


def time_jobs(jobs: Iterable[Job], catalog: Catalog, threads: int, budget: float = BUDGET) -> dict[str, float]:
    """Identity → seconds that a job will take here, alone: its steps, and looks at the validation and test parts.

    Each kind of recipe is timed once, on made-up images and from random weights, which cost the same; no image is
    decoded, and nothing is left behind. The kinds that most jobs are of come first.

    Args:
        catalog: of whose images only the labels and the split are looked at.
        threads: CPU threads, as the cells will have.
        budget: seconds for all of it, but for the steps of one recipe.

    Returns:
        Nothing of jobs that had no turn, or whose networks cannot be made here; the runs will say why.
    """
    jobs = list(jobs)
    often = Counter(_kind(job.recipe) for job in jobs)
    paces: dict[str, tuple[float, float] | None] = {}
    found, before, began = {}, torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(threads)
    try:
        for job in sorted(jobs, key=lambda job: -often[_kind(job.recipe)]):
            kind, recipe = _kind(job.recipe), job.recipe
            sizes, labels = _parts(catalog, recipe, job.fold)
            if kind not in paces and time.perf_counter() - began < budget:
                paces[kind] = _pace(recipe, catalog, labels)
            pace = paces.get(kind)
            if pace is not None:
                train, look = pace
                looks = recipe.epochs if recipe.protocol == "grouped" else 1
                seen = looks * sizes["validation"] + sizes["validation"] + sizes["test"]
                found[job.identity] = recipe.epochs * sizes["train"] * train + seen * look
    finally:
        torch.set_num_threads(before)
    return found


def _kind(recipe: Recipe) -> str:
    plain = {key: value for key, value in recipe.plain().items() if key not in _IDLE}
    plain["networks"] = {
        name: {key: value for key, value in one.items() if key not in ("pretrained", "trained_by")}
        for name, one in plain["networks"].items()
    }
    return json.dumps(plain, sort_keys=True, default=str)


def _parts(catalog: Catalog, recipe: Recipe, fold: int) -> tuple[dict[str, int], np.ndarray]:
    """How many images a look at each part takes, or an epoch of training; and the labels of the training part."""
    part = parts_of(split_of(catalog, recipe, fold), catalog.table["id"])
    labels = np.asarray(catalog.labels)[part == "train"]
    drawn = len(resampled(labels, recipe.resample, recipe.seed, 0))  # every epoch draws as many
    return {"train": drawn, **{name: int((part == name).sum()) for name in ("validation", "test")}}, labels


def _pace(recipe: Recipe, catalog: Catalog, labels: np.ndarray) -> tuple[float, float] | None:
    """Seconds an image takes in training, and in evaluation by all networks."""
    try:
        return _timed(_training(recipe, catalog, labels))
    except (PreceptorError, RuntimeError):  # RuntimeError: a GPU without room beside what runs there now
        return None


def _training(recipe: Recipe, catalog: Catalog, labels: np.ndarray) -> Training:
    fabric = Fabric(accelerator="auto", devices=1, precision=precision_of(recipe))  # type: ignore[arg-type]
    warm_up()
    classes = TASKS[recipe.task].classes(catalog)
    shapes = {
        name: one if one.run is not None or one.mean_of is not None else one.model_copy(update={"pretrained": "none"})
        for name, one in recipe.networks.items()
    }
    networks, _ = build_networks(shapes, classes, recipe.image_size, recipe.seed, TASKS[recipe.task].network)
    rows, size = torch.from_numpy(labels), recipe.image_size
    objectives = build_objectives(recipe, networks, rows, len(catalog.classes))
    banks = build_banks(recipe, networks, objectives, rows, len(catalog.classes))
    image = np.random.default_rng(0).integers(0, 256, (1, 3, size, size), dtype=np.uint8)
    images = np.broadcast_to(image, (len(labels), 3, size, size))  # one image in memory, whatever their number
    masks = np.broadcast_to(image[:, 0] % len(classes), (len(labels), size, size))
    pixels = Pixels(images, masks if TASKS[recipe.task].needs_masks else None, "")
    loader = Loader(pixels, labels, np.arange(len(labels)), fabric.device)
    model = DistillationModel(recipe, networks, objectives, banks)
    recipe = recipe.model_copy(update={"schedule": Constant()})  # others end after as many steps as a run has
    return Training(fabric, recipe, model, Parts(loader, loader, "train", classes))


def _timed(training: Training) -> tuple[float, float]:
    recipe = training.recipe
    epoch = recipe.epochs // 2  # by when what ramps up has begun
    weights, whole = training.model.active(epoch), training.plan(epoch)[0]
    loader = training.parts.train

    def steps(rows: np.ndarray) -> Callable[[], object]:
        (batch,) = loader.batches([rows])
        return lambda: training.step(batch, rows, epoch, 0, weights)

    training.wrapped.train()
    few = whole[:LEAST]
    step = steps(few)
    step()  # the first one sets things up
    small = _seconds(step)
    if small * len(whole) / len(few) * (1 + STEPS) > TURN:
        train = small / len(few)
    else:
        step = steps(whole)
        step()
        train = statistics.median(_seconds(step) for _ in range(STEPS)) / len(whole)

    (batch,) = loader.batches([np.arange(min(len(loader), _BATCH if train * _BATCH < TURN else LEAST))])
    images = batch.images.float() / 255

    def look() -> None:
        for network in training.model.networks.values():
            with evaluating(network), torch.no_grad(), training.fabric.autocast():
                network(images)

    return train, _seconds(look) / len(batch)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
