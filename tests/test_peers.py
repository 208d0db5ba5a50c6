"""The benchmark of peers: every comparison runs, and the steps beside ours are steps that learn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import literal_steps, losses, peers
from benchmarks.literal_steps import LiteralCRCKD, LiteralSSDKD, PlainLoop, Size

CPU = torch.device("cpu")
TINY = Size(8, 32, 1000, "test_efficientnet", "test_resnet", CPU)


@pytest.fixture(autouse=True)
def _few_negatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "NEGATIVES", 40)


@pytest.mark.parametrize("step", [LiteralCRCKD, LiteralSSDKD, PlainLoop])
def test_a_step_beside_ours_learns(step: Any) -> None:
    torch.manual_seed(0)
    literal = step(TINY)
    values = [literal() for _ in range(6)]
    assert min(values[3:]) < values[0]
    assert all(value == value for value in values)


def test_the_mean_teacher_of_the_released_step_follows() -> None:
    literal = LiteralCRCKD(TINY)
    before = literal.teacher.head.weight.clone()  # type: ignore[union-attr]
    literal()
    pairs = zip(literal.teacher.backbone.parameters(), literal.student.backbone.parameters(), strict=True)
    assert all(torch.equal(mine, value) for mine, value in pairs)  # α is 0 in the first step
    assert not torch.equal(before, literal.teacher.head.weight)  # type: ignore[arg-type]


def test_the_filter_keeps_right_answers_and_the_best_of_the_wrong() -> None:
    scores = torch.tensor([[3.0, 1, 2], [1, 3, 2], [1, 2, 3], [2, 3, 1]])  # answers rank 0, 2, 1, 1
    kept = literal_steps.LiteralSSDKD._kept(scores, torch.tensor([0, 0, 1, 0]), 0.67)
    assert kept.tolist() == [0, 2, 3]


@pytest.mark.parametrize("name", ["rkd", "crd", "loop"])
def test_a_comparison_of_a_test_s_size(name: str) -> None:
    if name in ("rkd", "crd"):
        pytest.importorskip("torchdistill")
    (pair,) = peers.compared([name], peers.SMALL, CPU)
    assert pair.ratio == pytest.approx(pair.peer_seconds / pair.seconds)
    assert pair.ratio > 0
