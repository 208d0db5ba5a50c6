"""A model small enough for a test, and its recipe."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from preceptor.networks.build import build_networks
from preceptor.recipe import Recipe
from preceptor.recipes.resolve import validate
from preceptor.tasks import TASKS
from preceptor.training.augment import Views
from preceptor.training.checks import check_objectives
from preceptor.training.module import DistillationModel
from preceptor.training.objectives import build_banks, build_objectives
from preceptor.training.step import StepInputs, StepOutputs
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import generator

CLASSES = ("mel", "nv", "bcc")
LABELS = torch.tensor([0, 1, 2, 1, 1, 0])  # of the training part
BATCH = torch.tensor([1, 0, 2, 1])
CE = {"loss": "cross_entropy", "of": "student"}
KL = {"loss": "kl", "from": "teacher", "to": "student"}
STUDENT = {"backbone": "test_resnet"}
PAIR = {"student": STUDENT, "teacher": {"mean_of": "student"}}


def recipe(objectives: list[dict[str, Any]], networks: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    networks = networks or PAIR
    text = {"name": "t", "networks": networks, "views": dict.fromkeys(networks, "plain"), "objectives": objectives}
    return validate({**text, "image_size": 32, **changes}, "t")


def model(
    objectives: list[dict[str, Any]], networks: dict[str, Any] | None = None, **changes: Any
) -> DistillationModel:
    whole = recipe(objectives, networks, **changes)
    check_objectives(whole)
    built, _ = build_networks(whole.networks, CLASSES, 32, whole.seed, TASKS[whole.task].network)
    labels = torch.nn.functional.one_hot(LABELS).float() if whole.task == "multi_label" else LABELS
    objectives = build_objectives(whole, built, labels, 3)
    return DistillationModel(whole, built, objectives, build_banks(whole, built, objectives, labels, 3))


def views(built: DistillationModel, seed: int = 0) -> dict[str, Tensor]:
    """Each network sees something else."""
    return {name: torch.rand(4, 3, 32, 32, generator=generator(seed, name)) for name in built.networks}


def one_step(
    built: DistillationModel,
    images: dict[str, Tensor] | None = None,
    labels: Tensor = BATCH,
    rng_key: tuple[int, int, int] = (0, 0, 0),
    **drawn: Any,
) -> StepOutputs:
    """Run the model on four images; ``drawn`` is what :class:`Views` holds besides them."""
    received = Views(images or views(built), **drawn)
    outputs: StepOutputs = built(StepInputs(received, labels, torch.arange(4), rng_key, [4]))
    return outputs


def losses(
    built: DistillationModel, epoch: int = 0, step: int = 0, collected: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    return one_step(built, collected, rng_key=(built.recipe.seed, epoch, step)).losses


def refused(objectives: list[dict[str, Any]], networks: Any, *parts: str) -> PreceptorError:
    """The error that these objectives end in before any network is built."""
    whole = recipe(objectives, networks)
    with pytest.raises(PreceptorError) as caught:
        check_objectives(whole)
    for part in parts:
        assert part in str(caught.value), str(caught.value)
    return caught.value
