"""Optimisers and learning-rate schedules, against their formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from preceptor.recipe import Recipe
from preceptor.training.optimiser import Descent, build_optimiser, build_schedule
from small_recipe import plain

BATCHES = 5


def recipe(optimiser: dict[str, Any], schedule: dict[str, Any], epochs: int = 4) -> Recipe:
    networks = {"student": {"backbone": "test_resnet"}, "teacher": {"mean_of": "student"}}
    views = {"student": "plain", "teacher": "plain"}
    return Recipe.model_validate(
        plain(epochs=epochs, optimiser=optimiser, schedule=schedule, networks=networks, views=views)
    )


class Small(nn.Module):
    """Parameters laid out as those of a recipe's networks."""

    def __init__(self) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({"student": nn.Linear(2, 1), "teacher": nn.Linear(2, 1)})

    def forward(self, x: Tensor) -> Tensor:
        return self.networks["student"](x) + self.networks["teacher"](x)


def rates(schedule: dict[str, Any], epochs: int = 4) -> list[float]:
    """The learning rate of every step of a run."""
    settings = recipe({"name": "sgd", "lr": 0.5}, schedule, epochs)
    optimiser = build_optimiser(settings, Small())
    steps = build_schedule(settings, optimiser, BATCHES)
    course = []
    for _ in range(epochs * BATCHES):
        course.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if steps is not None:
            steps.step()  # type: ignore[call-arg]
    return course


@pytest.mark.parametrize("name", ["teacher", "nobody"])
def test_a_rate_of_a_network_that_does_not_learn_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"optimiser.network_lr.{name}"):
        recipe({"name": "adam", "network_lr": {name: 0.1}}, {"name": "constant"})


def test_cosine_rises_over_the_warmup_and_falls_to_its_final_share() -> None:
    course = rates({"name": "cosine", "warmup": 1.0, "final": 0.1})
    assert course[:BATCHES] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    left = 3 * BATCHES
    wanted = [0.5 * (0.1 + 0.9 * (1 + math.cos(math.pi * k / left)) / 2) for k in range(left)]
    assert course[BATCHES:] == pytest.approx(wanted)


def test_steps_fall_when_their_epochs_begin() -> None:
    course = rates({"name": "multi_step", "epochs": [1, 3], "factor": 0.1})
    assert course == pytest.approx([0.5] * 5 + [0.05] * 10 + [0.005] * 5)


def test_exponential_falls_after_every_epoch() -> None:
    course = rates({"name": "exponential", "factor": 0.9})
    assert course == pytest.approx([0.5 * 0.9 ** (k // BATCHES) for k in range(20)])


def test_adamw_is_torchs() -> None:
    settings = recipe({"name": "adamw", "lr": 1e-3, "weight_decay": 0.05}, {"name": "constant"})
    torch.manual_seed(0)
    ours, theirs = Small(), Small()
    theirs.load_state_dict(ours.state_dict())
    pair = build_optimiser(settings, ours), torch.optim.AdamW(theirs.parameters(), 1e-3, weight_decay=0.05)
    for network, optimiser in zip((ours, theirs), pair, strict=True):
        for _ in range(3):
            optimiser.zero_grad()
            network(torch.ones(4, 2)).square().sum().backward()
            optimiser.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_network_may_have_a_rate_of_its_own() -> None:
    settings = recipe({"name": "sgd", "lr": 0.5}, {"name": "exponential"})
    apart = settings.optimiser.model_copy(update={"network_lr": {"teacher": 0.01}})
    settings = settings.model_copy(update={"optimiser": apart})
    model = Small()
    optimiser = build_optimiser(settings, model)
    steps = build_schedule(settings, optimiser, 1)
    assert [group["lr"] for group in optimiser.param_groups] == [0.5, 0.01]
    assert {id(p) for p in optimiser.param_groups[1]["params"]} == {
        id(p) for p in model.networks["teacher"].parameters()
    }
    optimiser.step()
    steps.step()  # type: ignore[union-attr,call-arg]
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.45, 0.009])


def descended(accumulate: int, clip: float | None = None) -> tuple[Small, list[bool]]:
    """A model after five batches, and after which of them the optimiser stepped."""
    clipping = {} if clip is None else {"clip_norm": clip}
    settings = recipe(
        {"name": "sgd", "lr": 0.1, "momentum": 0.0, "accumulate": accumulate, **clipping}, {"name": "constant"}
    )
    torch.manual_seed(0)
    model = Small()
    fabric = Fabric(accelerator="cpu", devices=1)
    wrapped, optimiser = fabric.setup(model, build_optimiser(settings, model))
    descent = Descent(fabric, settings, wrapped, optimiser, BATCHES)
    stepped = []
    for batch in range(BATCHES):
        inputs = torch.full((4, 2), float(batch + 1))
        stepped.append(descent.backward(wrapped(inputs).square().mean(), batch))
    return model, stepped


def test_accumulated_batches_are_averaged_and_the_last_group_may_be_smaller() -> None:
    model, stepped = descended(2)
    assert stepped == [False, True, False, True, True]
    torch.manual_seed(0)
    literal = Small()
    for group in ((1.0, 2.0), (3.0, 4.0), (5.0,)):
        literal.zero_grad()
        torch.stack([literal(torch.full((4, 2), x)).square().mean() for x in group]).mean().backward()
        with torch.no_grad():
            for parameter in literal.parameters():
                parameter -= 0.1 * parameter.grad  # type: ignore[operator]
    for mine, other in zip(model.parameters(), literal.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_the_gradient_is_clipped_to_its_norm() -> None:
    model, _ = descended(5, clip=1e-3)
    torch.manual_seed(0)
    start = Small()
    moved = torch.cat([(a - b).flatten() for a, b in zip(model.parameters(), start.parameters(), strict=True)])
    assert moved.norm().item() == pytest.approx(0.1 * 1e-3, rel=1e-4)
