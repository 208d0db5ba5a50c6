"""The contract over the whole registry, and that each of its clauses can fail."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from preceptor.losses.precision import full_precision
from preceptor.losses.registry import LOSSES, LossSpec
from preceptor.testing import CLAUSES, ContractError, check_loss
from preceptor.utils.errors import PreceptorError


@pytest.mark.parametrize("clause", list(CLAUSES))
@pytest.mark.parametrize("loss", list(LOSSES))
def test_every_registered_loss_keeps_the_contract(loss: str, clause: str) -> None:
    check_loss(loss, [clause])


class Sound(nn.Module):
    """A squared difference with a learned scale and a running mean (nobody, 2020): keeps every clause."""

    calls: Tensor

    def __init__(self, counts: Tensor) -> None:
        super().__init__()
        self.classes = counts.numel()
        self.gain = nn.Parameter(torch.ones(()))
        self.register_buffer("calls", torch.zeros(()))

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        self.calls += 1
        return self.calls * (self.gain * student - teacher.detach()).square().mean() * self.classes


def _example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
    student, teacher = torch.randn(2, batch, 4, generator=generator)
    return {"counts": torch.tensor([1, 2, 3])}, {"student": student, "teacher": teacher}


def _spec(module: type[nn.Module], **changes: Any) -> LossSpec:
    plain: dict[str, Any] = {
        "feeds": {"student": "to.logits", "teacher": "from.logits"},
        "trains": ("student",),
        "facts": {"counts": "class_counts"},
        "relates_images": False,
        "example": _example,
    }
    return LossSpec("trial", module, **{**plain, **changes})


def test_a_sound_loss_passes() -> None:
    check_loss(_spec(Sound))


class NoSource(Sound):
    """Nobody knows where this is from."""


class DeafToFacts(Sound):
    """Ignores what it asked for (nobody, 2020)."""

    def __init__(self, counts: Tensor) -> None:
        super().__init__(torch.ones(3))


class PerImage(Sound):
    """Forgets the mean (nobody, 2020)."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.gain * (student - teacher.detach()).square().mean(1)


class Infinite(Sound):
    """Divides by zero (nobody, 2020)."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return super().forward(student, teacher) / 0


class Narrow(Sound):
    """Rounds doubles (nobody, 2020)."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return super().forward(student.float(), teacher.float()).float()


class TeachesTheTeacher(Sound):
    """Lets gradient through to the teacher (nobody, 2020)."""

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.gain * (student - teacher).square().mean()


class Stuck(Sound):
    """Trains nothing (nobody, 2020)."""

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return super().forward(student.detach(), teacher)


class IdleParameter(Sound):
    """Has a parameter that does nothing (nobody, 2020)."""

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (student - teacher.detach()).square().mean()


class WritesIntoInputs(Sound):
    """Normalises its teacher in place (nobody, 2020)."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return super().forward(student, teacher.mul_(0.5))


class NeedsTwo(Sound):
    """Divides by the spread of the batch (nobody, 2020)."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return super().forward(student, teacher) / student.var(0, correction=0).mean()


class Forgetful(Sound):
    """Keeps its count out of the state (nobody, 2020)."""

    def __init__(self, counts: Tensor) -> None:
        super().__init__(counts)
        self.register_buffer("calls", torch.zeros(()), persistent=False)


class Capricious(Sound):
    """Draws from the global stream (nobody, 2020)."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return super().forward(student, teacher) * (1 + torch.rand(()))


class RoundsUnderAutocast(Sound):
    """Takes its product in bfloat16 (nobody, 2020)."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (self.gain * (student @ teacher.detach().T)).float().diagonal().mean()


class Ordered(Sound):
    """Likes the first image best (nobody, 2020)."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return super().forward(student, teacher) * student.detach()[0, 0]


class SumOverBatch(Sound):
    """Grows with the batch (nobody, 2020)."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return super().forward(student, teacher) * len(student)


class DeafToTeacher(Sound):
    """Ignores its teacher (nobody, 2020)."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return super().forward(student, torch.zeros_like(teacher))


class WithCritic(Sound):
    """Has a critic that shows how (nobody, 2020)."""

    def __init__(self, counts: Tensor) -> None:
        super().__init__(counts)
        self.critic = nn.Linear(4, 1)

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        weight, bias = self.critic.weight.detach(), self.critic.bias.detach()
        return super().forward(student, teacher) - (student @ weight.T + bias).mean()

    @full_precision
    def critic_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.critic(student.detach()).exp().mean() - self.critic(teacher.detach()).mean()


class TeachesItsCritic(WithCritic):
    """Lets the student's loss reach the critic (nobody, 2020)."""

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return Sound.forward(self, student, teacher) - self.critic(student).mean()


class CriticTeaches(WithCritic):
    """Lets the critic's loss reach the student (nobody, 2020)."""

    @full_precision
    def critic_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.critic(student).exp().mean() - self.critic(teacher.detach()).mean()


class CriticMissesItself(WithCritic):
    """Leaves a parameter of its critic out (nobody, 2020)."""

    @full_precision
    def critic_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return ((student - teacher).detach() @ self.critic.weight.T).mean()


SEES_BOTH = {"critic": {"student": "to.logits", "teacher": "from.logits"}}


def test_a_sound_loss_with_a_critic_passes() -> None:
    check_loss(_spec(WithCritic, **SEES_BOTH))


BROKEN = [
    ("example_is_complete", Sound, {"feeds": {"student": "to.logits"}}),
    ("example_is_complete", Sound, {"facts": {"row_labels": "row_labels"}}),
    ("facts_are_used", DeafToFacts, {}),
    ("names_its_source", NoSource, {}),
    ("value_is_a_finite_scalar", PerImage, {}),
    ("value_is_a_finite_scalar", Infinite, {}),
    ("keeps_double", Narrow, {}),
    ("gradient_reaches_what_it_trains", TeachesTheTeacher, {}),
    ("gradient_reaches_what_it_trains", Stuck, {}),
    ("gradient_reaches_what_it_trains", IdleParameter, {}),
    ("critic_learns_alone", TeachesItsCritic, SEES_BOTH),
    ("critic_learns_alone", CriticTeaches, SEES_BOTH),
    ("critic_learns_alone", CriticMissesItself, SEES_BOTH),
    ("inputs_stay_untouched", WritesIntoInputs, {}),
    ("takes_a_batch_of_one", NeedsTwo, {}),
    ("state_survives_a_checkpoint", Forgetful, {}),
    ("repeats_exactly", Capricious, {}),
    ("is_exact_under_autocast", RoundsUnderAutocast, {}),
    ("order_of_images_is_irrelevant", Ordered, {}),
    ("images_stand_alone_unless_related", SumOverBatch, {}),
    ("every_feed_matters", DeafToTeacher, {}),
]


@pytest.mark.parametrize(("clause", "module", "changes"), BROKEN)
def test_each_clause_catches_a_loss_that_breaks_it(
    clause: str, module: type[nn.Module], changes: dict[str, Any]
) -> None:
    with pytest.raises(ContractError, match=rf"'trial'[\s\S]*{clause}"):
        check_loss(_spec(module, **changes), [clause])


def test_every_clause_has_a_loss_that_breaks_it() -> None:
    assert {clause for clause, _, _ in BROKEN} == set(CLAUSES)


def test_an_exception_needs_a_reason_and_a_need() -> None:
    excepted = {"order_of_images_is_irrelevant": "the first image weighs most"}
    check_loss(_spec(Ordered, exceptions=excepted), excepted)
    with pytest.raises(ContractError, match="not needed"):
        check_loss(_spec(Sound, exceptions=excepted), excepted)
    with pytest.raises(ContractError, match="no reason"):
        check_loss(_spec(Ordered, exceptions={"order_of_images_is_irrelevant": " "}), excepted)
    with pytest.raises(PreceptorError, match="there is no clause 'order'"):
        check_loss(_spec(Ordered, exceptions={"order": "a misspelt clause"}))


class SoundWithLists(nn.Module):
    """Compares feature points and asks the teacher's classifier (nobody, 2020)."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.adapters = nn.ModuleList(nn.Linear(number, number) for number in channels)

    @full_precision
    def forward(self, student: list[Tensor], teacher: list[Tensor], classifier: nn.Linear) -> Tensor:
        compared = zip(self.adapters, student, teacher, strict=True)
        maps = sum((adapter(s) - t.detach()).square().mean() for adapter, s, t in compared)
        weight, bias = classifier.weight.detach(), classifier.bias.detach()
        return maps + (student[0] @ weight.T + bias).square().mean()


class ForgetsAPoint(SoundWithLists):
    """Leaves the last feature point out (nobody, 2020)."""

    def forward(self, student: list[Tensor], teacher: list[Tensor], classifier: nn.Linear) -> Tensor:
        return super().forward([*student[:-1], student[-1].detach()], teacher, classifier)


class TrainsTheClassifier(SoundWithLists):
    """Lets gradient through to the teacher's classifier (nobody, 2020)."""

    def forward(self, student: list[Tensor], teacher: list[Tensor], classifier: nn.Linear) -> Tensor:
        return super().forward(student, teacher, classifier) + classifier(student[0]).square().mean()


def _with_lists(module: type[nn.Module]) -> LossSpec:
    def example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
        student, teacher = ([torch.randn(batch, size, generator=generator) for size in (3, 4)] for _ in range(2))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(99, (), generator=generator)))
            classifier = nn.Linear(3, 2)
        return {"channels": (3, 4)}, {"student": student, "teacher": teacher, "classifier": classifier}

    feeds = {"student": "to.features", "teacher": "from.features", "classifier": "from.classifier"}
    return _spec(module, feeds=feeds, facts={"channels": "to.feature_channels"}, example=example)


def test_feature_lists_and_classifiers_are_checked_too() -> None:
    check_loss(_with_lists(SoundWithLists))
    with pytest.raises(ContractError, match=r"'student\[1\]' receives no gradient"):
        check_loss(_with_lists(ForgetsAPoint), ["gradient_reaches_what_it_trains"])
    with pytest.raises(ContractError, match=r"'classifier\.weight' receives gradient"):
        check_loss(_with_lists(TrainsTheClassifier), ["gradient_reaches_what_it_trains"])


class SoundWithViews(nn.Module):
    """Likens every view to the upright one of its image (nobody, 2020)."""

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor, views: int) -> Tensor:
        blocks = student.unflatten(0, (views, -1))
        return ((blocks - blocks[0]) * teacher.detach().unflatten(0, (views, -1))).square().mean()


class TakesViewsForNeighbours(nn.Module):
    """Reads the views of an image as if they stood beside each other (nobody, 2020)."""

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor, views: int) -> Tensor:
        images = student.unflatten(0, (-1, views))
        return ((images - images[:, :1]) * teacher.detach().unflatten(0, (-1, views))).square().mean()


def _with_views(module: type[nn.Module]) -> LossSpec:
    def example(generator: torch.Generator, batch: int) -> tuple[dict[str, Any], dict[str, Any]]:
        student, teacher = torch.randn(2, 3 * batch, 4, generator=generator)
        return {}, {"student": student, "teacher": teacher, "views": 3}

    feeds = {"student": "to.logits", "teacher": "from.logits", "views": "views"}
    return _spec(module, feeds=feeds, facts={}, example=example)


def test_several_views_of_an_image_go_together() -> None:
    check_loss(_with_views(SoundWithViews))
    with pytest.raises(ContractError, match="order_of_images_is_irrelevant"):
        check_loss(_with_views(TakesViewsForNeighbours), ["order_of_images_is_irrelevant"])


def test_all_broken_clauses_are_listed_at_once() -> None:
    with pytest.raises(ContractError) as caught:
        check_loss(_spec(Capricious))
    assert "repeats_exactly" in str(caught.value)
    assert "state_survives_a_checkpoint" in str(caught.value)


def test_unknown_names_are_errors() -> None:
    with pytest.raises(PreceptorError, match="Did you mean 'kl'"):
        check_loss("kll")
    with pytest.raises(PreceptorError, match="Did you mean 'repeats_exactly'"):
        check_loss("kl", ["repeats_exactl"])
