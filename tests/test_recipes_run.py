"""Every recipe that is registered, ours or a plug-in's, is built and run for two steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.files import save_network
from preceptor.recipe import NetworkConfig, Recipe
from preceptor.recipes.registry import RECIPES
from preceptor.recipes.resolve import resolve, validate
from preceptor.runs.create import Data, prepare
from preceptor.runs.worker import build_model, load_parts
from preceptor.training.loop import Parts, Training

STUDENT, TEACHER = "test_efficientnet", "test_resnet"


def tiny(recipe: Recipe, classes: tuple[str, ...], folder: Path) -> Recipe:
    """The same recipe with small networks and images; frozen teachers come from a file."""
    plain = recipe.plain() | {"image_size": 32, "batch_size": 16, "epochs": 4}
    half = (0.5, 0.5, 0.5)
    channels = Classifier(Architecture(STUDENT, classes, 32, half, half)).channels
    networks: dict[str, Any] = {}
    for name, network in recipe.networks.items():
        said = network.model_dump(exclude_defaults=True)
        block = {"map_channels": channels} if network.map_channels else {}
        if network.frozen:
            head = network.projection if network.frozen is True else None
            architecture = Architecture(TEACHER, classes, 32, half, half, head, **block)
            save_network(Classifier(architecture), folder / f"{name}.safetensors")
            said = {"run": str(folder / f"{name}.safetensors"), "frozen": network.frozen}
            said |= {"projection": network.projection} if network.projection else {}
        elif network.mean_of is None:
            said |= {"backbone": TEACHER if name == "teacher" else STUDENT, "pretrained": "none", **block}
        networks[name] = NetworkConfig(**said)
    return validate(
        {**plain, "networks": {n: one.model_dump(exclude_defaults=True) for n, one in networks.items()}}, "tiny"
    )


def started(recipe: Recipe, root: Path, folder: Path) -> Training:
    data = Data("phantom", root)
    run = prepare(tiny(recipe, data.catalog().classes, folder), data, folder / "run")
    catalog = run.catalog()
    loaders = load_parts(run, run.recipe, catalog, None, torch.device("cpu"))
    model = build_model(run, run.recipe, catalog, torch.from_numpy(loaders["train"].labels))
    watched = "test" if recipe.protocol == "paper" else "validation"
    fabric = Fabric(accelerator="cpu", devices=1)
    return Training(fabric, run.recipe, model, Parts(loaders["train"], loaders[watched], watched, catalog.classes))


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_two_steps(name: str, phantom_root: Path, tmp_path: Path) -> None:
    """Losses are finite, whoever learns has moved, and nobody else has."""
    training = started(resolve(name), phantom_root, tmp_path)
    networks = training.model.networks
    before = {n: weights_of(networks[n]) for n in networks}
    weights = training.model.active(3)
    plan = training.plan(3)[:2]
    training.wrapped.train()
    for step, (rows, batch) in enumerate(zip(plan, training.parts.train.batches(plan), strict=True)):
        losses = training.step(batch, np.asarray(rows), 3, step, weights)
        assert set(losses) == set(weights)
        assert all(torch.isfinite(loss) for loss in losses.values()), losses
    for key, network in training.recipe.networks.items():
        now = weights_of(networks[key])
        moved = {part for part in now if not torch.equal(now[part], before[key][part])}
        expected = {True: set(), "backbone": {"head"}, False: {"body"}}[network.frozen]
        assert moved - {"head"} == expected - {"head"}, f"{key} is frozen: {network.frozen}"
        assert network.frozen != "backbone" or moved == expected


def weights_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights of the projection head, and all others."""
    parts: dict[str, list[torch.Tensor]] = {"head": [], "body": []}
    for name, weight in network.named_parameters():
        parts["head" if "projection" in name else "body"].append(weight.detach().flatten())
    return {part: torch.cat([torch.zeros(0), *found]) for part, found in parts.items()}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_has_a_source_and_a_docstring(name: str) -> None:
    assert RECIPES[name].paper
    assert RECIPES[name].summary.endswith((".", ":", "‖ student).")), "the first line says what it is"
