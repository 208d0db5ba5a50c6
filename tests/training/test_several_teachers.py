"""One objective with several teachers, and objectives on named feature points."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from preceptor.losses.kl import KLDivergence
from preceptor.losses.registry import LOSSES, LossSpec
from preceptor.recipe import Objective
from preceptor.utils.errors import PreceptorError
from small_model import model, one_step

CE = {"loss": "cross_entropy", "of": "student"}
TEACHERS = {
    "student": {"backbone": "test_efficientnet"},
    "t1": {"backbone": "test_resnet"},
    "t2": {"backbone": "test_efficientnet"},
}
#: The teachers learn too, since a recipe's frozen ones come from files.
LEARN = [{**CE, "of": name, "name": f"ce_{name}"} for name in ("t1", "t2")]


def distilled(source: Any) -> Tensor:
    """The KL term of one batch."""
    built = model([CE, *LEARN, {"loss": "kl", "from": source, "to": "student"}], TEACHERS)
    views = {name: torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) for name in TEACHERS}
    return one_step(built, views).losses["kl"]


def test_a_list_counts_teachers_alike_and_weights_as_they_are() -> None:
    one, other = distilled("t1"), distilled("t2")
    torch.testing.assert_close(distilled(["t1", "t2"]), (one + other) / 2)
    torch.testing.assert_close(distilled({"t1": 0.25, "t2": 0.75}), 0.25 * one + 0.75 * other)


def test_the_sum_has_the_gradient_of_the_mean_probabilities() -> None:
    """Σ w_m KL(p_m ‖ q) and KL(Σ w_m p_m ‖ q) differ by a constant."""
    draw = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 5, 7, generator=draw, dtype=torch.float64)
    student = torch.randn(5, 7, generator=draw, dtype=torch.float64, requires_grad=True)
    kl = KLDivergence()
    (of_sum,) = torch.autograd.grad(0.25 * kl(student, first) + 0.75 * kl(student, second), student)
    mean = (0.25 * first.softmax(1) + 0.75 * second.softmax(1)).log()
    (of_mean,) = torch.autograd.grad(kl(student, mean), student)
    torch.testing.assert_close(of_sum, of_mean)


@pytest.mark.parametrize("source", [{"t1": 0.5, "t2": 0.6}, {"t1": 1.0}, ["t1", "t1"], {"t1": -0.5, "t2": 1.5}])
def test_weights_that_do_not_sum_to_one_are_refused(source: Any) -> None:
    with pytest.raises(ValueError, match="from"):
        Objective.model_validate({"loss": "kl", "from": source, "to": "student"})


class StageDifference(nn.Module):
    """Mean absolute value of the student's stages (made up, 2026)."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
        assert tuple(value.shape[1] for value in maps) == self.channels
        assert all(not value.requires_grad for value in teacher_maps)
        return torch.stack([value.abs().mean() for value in (*maps, *teacher_maps)]).sum()


@pytest.fixture
def stages() -> Any:
    spec = LossSpec(
        "stages", StageDifference, {"maps": "to.features", "teacher_maps": "from.features"}, ("maps",),
        {"channels": "to.feature_channels"}, False, lambda g, b: ({}, {}), features=("stage1", "stage2"),
    )  # fmt: skip
    LOSSES.add("stages", spec)
    yield spec
    del LOSSES._entries["stages"]


def test_an_objective_gets_the_feature_points_that_it_names(stages: Any) -> None:
    views = {name: torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) for name in TEACHERS}
    term = {"loss": "stages", "from": "t1", "to": "student", "features": ["stage2"], "from_features": ["stage3_pre"]}
    built = model([CE, *LEARN, term], TEACHERS)
    built.train()
    one_step(built, views).losses["stages"].backward()
    assert built.objective("stages").features("student") == ("stage2",)
    assert built.objective("stages").features("t1") == ("stage3_pre",)
    assert built.objective("stages").features("t2") == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": ["stage9"]}, r"objectives\.stages: backbone 'test_efficientnet' has no feature point 'stage9'"),
        ({"from_features": ["stag1"]}, r"objectives\.stages: backbone 'test_resnet' .* Did you mean 'stage1'"),
        ({"loss": "kl", "features": ["stage1"]}, r"objectives\.kl\.features: the loss kl compares no named"),
    ],
)
def test_points_that_are_not_there_are_one_error(stages: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PreceptorError, match=message):
        model([CE, *LEARN, {"loss": "stages", "from": "t1", "to": "student", **changes}], TEACHERS)
