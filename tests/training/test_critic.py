"""Adversarial losses: the critic has an optimiser of its own, and neither side's loss reaches the other."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.func import functional_call

from preceptor.losses.registry import LOSSES, LossSpec
from preceptor.training.module import DistillationModel
from preceptor.training.optimiser import Descent, build_critic_optimiser, build_optimiser
from small_model import model, one_step

CE = {"loss": "cross_entropy", "of": "student"}
TERM = {"loss": "adversary", "from": "teacher", "to": "student", "weight": 0.3}


class Adversary(nn.Module):
    """Score the student's logits with a linear critic (after Goodfellow et al. 2014)."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = nn.Linear(3, 1)

    def forward(self, student: Tensor) -> Tensor:
        constant = {name: value.detach() for name, value in self.critic.named_parameters()}
        return -functional_call(self.critic, constant, (student,)).mean()

    def critic_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.critic(student).mean() - self.critic(teacher).mean()


@pytest.fixture
def adversary() -> Iterator[None]:
    feeds = {"student": "to.logits"}
    critic = {**feeds, "teacher": "from.logits"}
    spec = LossSpec("adversary", Adversary, feeds, ("student",), {}, False, lambda g, b: ({}, {}), critic=critic)
    LOSSES.add("adversary", spec)
    yield
    del LOSSES._entries["adversary"]


def started() -> tuple[DistillationModel, Descent]:
    rates = {"optimiser": {"name": "sgd", "lr": 0.1}, "critic_optimiser": {"name": "sgd", "lr": 0.5}}
    built = model([CE, TERM], schedule={"name": "constant"}, **rates)
    built.train()
    fabric = Fabric(accelerator="cpu", devices=1)
    wrapped, optimiser, critics = fabric.setup(
        built, build_optimiser(built.recipe, built), build_critic_optimiser(built.recipe, built)
    )
    return built, Descent(fabric, built.recipe, wrapped, optimiser, 1, critics)


def outputs(built: DistillationModel) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    step = one_step(built)
    return step.losses, step.critic_losses


def test_one_pass_steps_both_as_two_would(adversary: None) -> None:
    ours, descent = started()
    literal = copy.deepcopy(ours)

    losses, critics = outputs(ours)
    descent.backward(losses["cross_entropy"] + 0.3 * losses["adversary"] + critics["adversary"], 0)

    def parts() -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        named = [(key, value) for key, value in literal.named_parameters() if value.requires_grad]
        return [v for k, v in named if ".critic." not in k], [v for k, v in named if ".critic." in k]

    learning, judging = parts()
    losses, critics = outputs(literal)
    of_student = torch.autograd.grad(
        losses["cross_entropy"] + 0.3 * losses["adversary"], learning, allow_unused=True, retain_graph=True
    )
    of_critic = torch.autograd.grad(critics["adversary"], judging)
    with torch.no_grad():
        for parameter, slope in zip(learning, of_student, strict=True):
            parameter -= 0.1 * (torch.zeros_like(parameter) if slope is None else slope)
        for parameter, slope in zip(judging, of_critic, strict=True):
            parameter -= 0.5 * slope
    for mine, other in zip(ours.parameters(), literal.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_the_student_and_the_critic_do_not_reach_each_other(adversary: None) -> None:
    built, _ = started()
    losses, critics = outputs(built)
    losses["adversary"].backward(retain_graph=True)
    assert all(p.grad is None for key, p in built.named_parameters() if ".critic." in key)
    built.zero_grad()
    critics["adversary"].backward()
    reached = {key for key, p in built.named_parameters() if p.grad is not None}
    assert reached == {"objectives.adversary.loss.critic.weight", "objectives.adversary.loss.critic.bias"}


def test_a_recipe_without_a_critic_has_no_second_optimiser() -> None:
    built = model([CE])
    assert build_critic_optimiser(built.recipe, built) is None
