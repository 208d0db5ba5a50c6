"""Every recipe that is registered, ours or a plug-in's, is built and run for two steps."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from lightning_fabric import Fabric
from PIL import Image
from safetensors.torch import save_file

from preceptor.losses.registry import LOSSES
from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.network_file import save_network
from preceptor.networks.segmenter import Segmenter, UNetArchitecture
from preceptor.recipe import Recipe
from preceptor.recipes.registry import RECIPES
from preceptor.recipes.resolve import resolve, validate
from preceptor.runs.create import Data, prepare
from preceptor.runs.worker import build_model, load_parts
from preceptor.tasks import TASKS
from preceptor.training.checks import check_objectives
from preceptor.training.loop import Parts, Training
from preceptor.training.progress import Display
from preceptor.utils.errors import PreceptorError

STUDENT, TEACHER, EMBEDDER = "test_efficientnet", "test_resnet", "test_vit"
EPOCH = 25  # in which every ramp and warm-up of a shipped recipe is over or under way
HALF = (0.5, 0.5, 0.5)


def tiny(recipe: Recipe, classes: tuple[str, ...], folder: Path) -> Recipe:
    """The same recipe with small networks and images; whatever is trained first comes from a file."""
    masks = TASKS[recipe.task].needs_masks
    side = 64 if any(LOSSES[term.loss].critic for term in recipe.objectives) else 32  # critics of masks see 64 pixels
    channels = None if masks else Classifier(Architecture(STUDENT, classes, side, HALF, HALF)).channels
    networks: dict[str, Any] = {}
    for name, network in recipe.networks.items():
        config = network.model_dump(exclude_defaults=True)
        block = {"map_channels": channels} if network.map_channels else {}
        file = folder / f"{name}.safetensors"
        if network.gives_features:
            save_file(timm.create_model(EMBEDDER, img_size=side).state_dict(), file)
            config |= {"backbone": EMBEDDER, "pretrained": str(file), "input_size": side}
        elif network.frozen or network.trained_by:
            head = network.projection if network.frozen is True else None
            backbone = TEACHER if network.frozen else STUDENT
            save_network(built(backbone, classes, side, head, block, masks), file)
            config = {"run": str(file), "frozen": network.frozen, "calibrated": network.calibrated}
            config |= {"projection": network.projection} if network.projection else {}
        elif network.mean_of is None:
            config |= {"backbone": TEACHER if name == "teacher" else STUDENT, "pretrained": "none", **block}
        networks[name] = config
    plain = recipe.plain() | {"image_size": side, "batch_size": 16, "epochs": 4, "networks": networks}
    plain["optimiser"] |= {"accumulate": 1}
    return validate(plain, "tiny")


def built(
    backbone: str, classes: tuple[str, ...], side: int, head: Any, block: dict[str, Any], masks: bool
) -> Classifier | Segmenter:
    if masks:
        return Segmenter(UNetArchitecture(backbone, classes, side, HALF, HALF, head, **block))
    return Classifier(Architecture(backbone, classes, side, HALF, HALF, head, **block))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """64 images of noise with two labels each."""
    root, draw = tmp_path_factory.mktemp("labels"), np.random.default_rng(0)
    rows = ["image,edema,mass"]
    for number in range(64):
        Image.fromarray(draw.integers(0, 255, (32, 32, 3)).astype(np.uint8)).save(root / f"{number:02d}.png")
        rows.append(f"{number:02d}.png,{number % 2},{number // 2 % 2}")
    (root / "labels.csv").write_text("\n".join(rows))
    return Data("table", root / "labels.csv", options={"labels": "edema,mass"})


def started(recipe: Recipe, data: Data, folder: Path) -> Training:
    run = prepare(tiny(recipe, TASKS[recipe.task].classes(data.catalog()), folder), data, folder / "run")
    catalog = run.catalog()
    loaders = load_parts(run, run.recipe, catalog, None, torch.device("cpu"))
    model = build_model(run, run.recipe, catalog, torch.from_numpy(loaders["train"].labels))
    watched = "test" if recipe.protocol == "paper" else "validation"
    fabric = Fabric(accelerator="cpu", devices=1)
    return Training(fabric, run.recipe, model, Parts(loaders["train"], loaders[watched], watched, catalog.classes))


def test_an_epoch_is_drawn_once(phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing it takes time with every image of the training part, which no step may repeat."""
    training = started(resolve("student", {}), Data("phantom", phantom_root), tmp_path)
    drawn: list[int] = []
    batches_of = training.batches_of
    monkeypatch.setattr(training, "batches_of", lambda epoch: drawn.append(epoch) or batches_of(epoch))
    training.train_epoch(1, Display("student", quiet=True))
    assert drawn == [1]
    assert training.progress.step == training.steps_per_epoch > 1


#: Graded forms that are run too; of the others test_grades_are_trained_as_classes says why not.
GRADED = ("kd", "student")


def forms() -> list[tuple[str, str]]:
    """Every recipe with every task that it has a form for, as far as they train differently."""
    return [
        (name, task)
        for name in sorted(RECIPES)
        for task in TASKS
        if has_form(name, task) and (task != "ordinal" or name in GRADED)
    ]


@cache
def has_form(name: str, task: str) -> bool:
    try:
        check_objectives(resolve(name, {"task": task}))
    except PreceptorError:
        return False
    return True


@pytest.mark.parametrize(("name", "task"), forms())
def test_two_steps(name: str, task: str, phantom_root: Path, labelled: Data, tmp_path: Path) -> None:
    """Losses are finite, whoever learns has moved, and nobody else has."""
    data = labelled if TASKS[task].target == "labels" else Data("phantom", phantom_root)
    training = started(resolve(name, {"task": task}), data, tmp_path)
    networks = training.model.networks
    before = {n: weights_of(networks[n]) for n in networks}
    weights = training.model.active(EPOCH)
    assert set(weights) == {objective.name for objective in training.recipe.objectives}
    batches = training.batches_of(EPOCH)[:2]
    training.wrapped.train()
    for step, (rows, batch) in enumerate(zip(batches, training.parts.train.batches(batches), strict=True)):
        losses = training.step(batch, np.asarray(rows), EPOCH, step, weights)
        assert set(losses) == set(weights)
        assert all(torch.isfinite(loss) for loss in losses.values()), losses
    for key, network in training.recipe.networks.items():
        now = weights_of(networks[key])
        moved = {part for part in now if not torch.equal(now[part], before[key][part])}
        expected = {True: set(), "backbone": {"head"}, "features": {"body"}, False: {"body"}}[network.frozen]
        assert moved - {"head"} == expected - {"head"}, f"{key} is frozen: {network.frozen}"
        assert network.frozen != "backbone" or moved == expected


@pytest.mark.parametrize("name", [name for name, task in forms() if task == "classification"])
def test_grades_are_trained_as_classes(name: str) -> None:
    """What differs is the metric that chooses the epoch, so that the steps above are theirs too."""
    assert TASKS["ordinal"].trains_like(TASKS["classification"])
    graded, classes = (resolve(name, {"task": task}).plain() for task in ("ordinal", "classification"))
    for key in ("task", "select"):
        del graded[key], classes[key]
    assert graded == classes


def weights_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights of the projection head, and all others."""
    parts: dict[str, list[torch.Tensor]] = {"head": [], "body": []}
    for name, weight in network.named_parameters():
        parts["head" if "projection" in name else "body"].append(weight.detach().flatten())
    return {part: torch.cat([torch.zeros(0), *result]) for part, result in parts.items()}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_has_a_source_and_a_docstring(name: str) -> None:
    assert RECIPES[name].paper
    assert RECIPES[name].summary.endswith((".", ":", "‖ student).")), "the first line says what it is"
