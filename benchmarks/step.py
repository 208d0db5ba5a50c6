"""How much of a training step is not the networks' own work.

``python -m benchmarks.step --recipe kd --image-size 112 --batch 32 [--json FILE] [key=value …]``

Both times come from one process, alternating. The *step* is the engine's own (:meth:`Training.step`), fed by its own
loader from a cache on disk, logging included: views, forward, losses, backward, optimiser, mean teachers. The *floor*
is the bare networks on ready tensors, as many views of each image as the recipe shows: forward of every network,
backward of the sum of the learners' logits, and the optimiser's step. ``overhead`` is step / floor - 1, from medians.
Without a GPU all times are CPU time, which does not count what other work on the machine takes.

Two parts of it are timed alone as well and given as shares of the step: the *objectives* (forward and backward on
outputs that stand, with whatever the losses learn themselves) and the *views* (drawing and rendering them).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from benchmarks.measure import timed
from preceptor.data.batches import Batch
from preceptor.networks.build import build_networks
from preceptor.networks.mean_teacher import MeanTeacher
from preceptor.networks.network_file import save_network
from preceptor.networks.output import NetworkOutput
from preceptor.recipe import NetworkConfig, Recipe
from preceptor.recipes.resolve import resolve
from preceptor.runs.create import Data, prepare
from preceptor.runs.worker import build_model, load_parts
from preceptor.tasks import TASKS
from preceptor.training.augment import make_views
from preceptor.training.distributed import warm_up
from preceptor.training.loop import Parts, Training
from preceptor.training.network_pass import NetworkPass
from preceptor.training.objectives import LossInputs, ObjectiveModule


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="kd")
    parser.add_argument("--image-size", type=int, default=112)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each kind")
    parser.add_argument("--json", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    asked = parser.parse_args()
    result = measure(asked.recipe, asked.image_size, asked.batch, asked.steps, asked.overrides)
    print(
        f"{result['recipe']} at {result['image_size']} px, batch {result['batch']} ({', '.join(result['networks'])}): "
        f"step {result['step_seconds'] * 1e3:.1f} ms, floor {result['floor_seconds'] * 1e3:.1f} ms, "
        f"overhead {result['overhead']:.1%}; objectives alone {result['objectives_seconds'] * 1e3:.1f} ms "
        f"({result['objectives_share']:.1%}), views {result['views_seconds'] * 1e3:.1f} ms "
        f"({result['views_share']:.1%})"
    )
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(name: str, image_size: int, batch: int, steps: int, overrides: list[str]) -> dict[str, Any]:
    """The figures of one recipe; networks start from random weights, which cost the same."""
    recipe = resolve(name, [f"image_size={image_size}", f"batch_size={batch}", *overrides])
    with tempfile.TemporaryDirectory() as folder:
        training = prepared_training(recipe, Path(folder), images=max(batch * 8, 600))
        engine = engine_step(training)
        works = engine, floor_step(training), objectives_alone(training, engine)["objectives"], views_alone(training)
        times: list[list[float]] = [[] for _ in works]
        for turn in range(steps + 3):
            for work, taken in zip(works, times, strict=True):
                seconds = timed(work)
                if turn >= 3:
                    taken.append(seconds)
    step_seconds, floor_seconds, objectives_seconds, views_seconds = map(statistics.median, times)
    return {
        "recipe": name,
        "networks": [f"{key}: {_backbone(config, recipe)}" for key, config in recipe.networks.items()],
        "image_size": image_size,
        "batch": batch,
        "step_seconds": step_seconds,
        "floor_seconds": floor_seconds,
        "overhead": step_seconds / floor_seconds - 1,
        "objectives_seconds": objectives_seconds,
        "objectives_share": objectives_seconds / step_seconds,
        "views_seconds": views_seconds,
        "views_share": views_seconds / step_seconds,
        "device": str(training.fabric.device),
        "threads": torch.get_num_threads(),
    }


def prepared_training(recipe: Recipe, folder: Path, images: int, shared: Path | None = None) -> Training:
    """A run of a recipe on a phantom, as it stands before its first step.

    Args:
        folder: an empty one, for the run.
        images: of the phantom.
        shared: where the phantom and its cache lie for several runs, drawn once; in ``folder`` if None.
    """
    place = shared or folder
    data = Data("phantom", place / f"phantom{recipe.image_size}", {"images": images, "size": recipe.image_size})
    recipe = _from_scratch(recipe, TASKS[recipe.task].classes(data.catalog()), folder)
    run = prepare(recipe, data, folder / "run")
    fabric = Fabric(accelerator="auto", devices=1)
    warm_up()
    catalog = run.catalog()
    loaders = load_parts(run, recipe, catalog, place / "cache", fabric.device)
    labels = torch.from_numpy(loaders["train"].labels)
    model = build_model(run, recipe, catalog, labels)
    return Training(fabric, recipe, model, Parts(loaders["train"], loaders["train"], "train", ()))


def _from_scratch(recipe: Recipe, classes: tuple[str, ...], folder: Path) -> Recipe:
    """Frozen networks come from a file, as they do after a run of their own; all weights are random."""
    networks = {}
    for name, network in recipe.networks.items():
        if network.frozen:
            file = folder / f"{name}.safetensors"
            shape = NetworkConfig(
                backbone=network.backbone, projection=network.projection, map_channels=network.map_channels
            )
            built, _ = build_networks(
                {name: shape}, classes, recipe.image_size, recipe.seed, TASKS[recipe.task].network
            )
            made = built[name]
            assert not isinstance(made, MeanTeacher)
            save_network(made, file)
            network = NetworkConfig(run=str(file), frozen=network.frozen, projection=network.projection)
        networks[name] = network.model_copy(update={"pretrained": "none"})
    return recipe.model_copy(update={"networks": networks})


def engine_step(training: Training) -> Callable[[], None]:
    epoch = 1
    weights = training.model.active(epoch)
    chosen = [value for value in training.batches_of(epoch) if len(value) == training.recipe.batch_size]
    sums = dict.fromkeys(weights, torch.zeros((), device=training.fabric.device))

    def endless() -> Iterator[tuple[np.ndarray, Batch]]:
        while True:
            yield from zip(chosen, training.parts.train.batches(chosen), strict=True)

    batches = endless()
    training.wrapped.train()

    def step() -> None:
        whole, batch = next(batches)
        losses = training.step(batch, whole, epoch, 0, weights)
        for name, loss in losses.items():
            sums[name] += loss.detach()

    return step


def floor_step(training: Training) -> Callable[[], None]:
    """The bare networks of a run on ready images: forward of each, backward and the optimiser's step."""
    recipe, fabric = training.recipe, training.fabric
    size = recipe.image_size
    images = {
        name: torch.rand(recipe.batch_size * (1 + len(recipe.transforms(name))), 3, size, size, device=fabric.device)
        for name in recipe.networks
    }
    networks = {name: training.model.networks[name] for name in recipe.networks}
    passes = {
        name: NetworkPass(networks[name], mode, frozen=not recipe.networks[name].learns, images=len(images[name]))  # type: ignore[arg-type]
        for name, mode in training.modes.items()
    }

    def step() -> None:
        training.wrapped.train()
        total = torch.zeros((), device=fabric.device)
        for name, one_pass in passes.items():
            logits = one_pass(images[name]).logits
            total = total + logits.sum() if recipe.networks[name].learns else total
        training.optimiser.zero_grad()
        fabric.backward(total * 1e-6)
        training.optimiser.step()

    return step


def objectives_alone(training: Training, engine: Callable[[], None]) -> dict[str, Callable[[], None]]:
    """The objectives of the step that ``engine`` takes once, forward and backward, again and again on its outputs:
    ``objectives``, all of them, and ``objective_NAME``, each by itself."""
    weights = training.model.active(1)
    objectives = [training.model.objective(name) for name in weights]
    scenes: list[LossInputs] = []
    hook = objectives[0].register_forward_pre_hook(lambda _, inputs: scenes.append(inputs[0]))
    engine()
    hook.remove()
    inputs = scenes[0]

    def leaf(output: NetworkOutput, learns: bool) -> NetworkOutput:
        return output.map_tensors(lambda value: value.detach().requires_grad_(learns))

    def step(some: list[ObjectiveModule]) -> None:
        outputs = {name: leaf(output, training.recipe.networks[name].learns) for name, output in inputs.outputs.items()}
        again = replace(inputs, outputs=outputs)
        losses = [weights[objective_module.objective.name] * objective_module(again) for objective_module in some]
        training.fabric.backward(torch.stack(losses).sum())

    each = {f"objective_{module.objective.name}": partial(step, [module]) for module in objectives}
    return {"objectives": partial(step, objectives), **each}


def views_alone(training: Training) -> Callable[[], None]:
    """The views of a batch that lies on the device: drawn and rendered."""
    recipe = training.recipe
    rows = np.arange(recipe.batch_size)
    batch = next(iter(training.parts.train.batches([rows])))

    def step() -> None:
        make_views(recipe, recipe.networks, batch, len(rows), (recipe.seed, 1, 0))

    return step


def _backbone(network: NetworkConfig, recipe: Recipe) -> str:
    return f"mean of {network.mean_of}" if network.mean_of else str(network.backbone)


if __name__ == "__main__":
    main()
