"""Two processes that share a batch learn what one process learns from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from conftest import TINY
from preceptor.training.api import train
from preceptor.training.checkpoint import load_state
from preceptor.training.run import Run

SETTINGS = {
    **TINY,
    "epochs": 2,
    # Without batch norm (whose statistics are each process's own); momentum-free SGD shows gradients as they are.
    "networks.student.backbone": "test_efficientnet_ln",
    "networks.student.pretrained": "none",
    "optimiser.name": "sgd",
    "optimiser.lr": 0.05,
    "optimiser.momentum": 0.0,
    "schedule.name": "constant",
    "objectives.kl.weight": 0.5,
}


def run(root: Path, out: Path, devices: int, **more: object) -> Run:
    return train("mean_teacher", data="phantom", root=root, out=out, devices=devices, overrides={**SETTINGS, **more})


def test_two_processes_equal_one(phantom_root: Path, tmp_path: Path) -> None:
    """Odd batches (33 and 15 of 111 images …) make unequal shards; the weighted mean of CE spans both."""
    one = run(phantom_root, tmp_path / "one", 1, batch_size=33)
    two = run(phantom_root, tmp_path / "two", 2, batch_size=33)
    rows = [each.metrics["parts"]["train"] for each in (one, two)]
    assert rows[0] == rows[1]
    assert rows[0] % 33 % 2 == 1 or 33 % 2 == 1
    states = [load_state(each.checkpoint) for each in (one, two)]
    losses = [[row[k] for row in state["progress"]["history"] for k in row if k.startswith("loss")] for state in states]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    weights = [torch.cat([v.flatten().double() for v in s["classroom"].values()]) for s in states]
    assert torch.allclose(weights[0], weights[1], rtol=1e-4, atol=1e-6)
    start = load_state_before(phantom_root, tmp_path)
    moved = (weights[0] - start).norm()
    assert (weights[0] - weights[1]).norm() < 1e-4 * moved, "the two agree only because little was learned"


def load_state_before(root: Path, tmp_path: Path) -> torch.Tensor:
    """The weights as they were before the first step."""
    from preceptor.recipes.resolve import resolve
    from preceptor.training.fit import build_classroom
    from preceptor.training.prepare import Data, prepare

    fresh = prepare(resolve("mean_teacher", {**SETTINGS, "batch_size": 33}), Data("phantom", root), tmp_path / "fresh")
    catalog = fresh.catalog()
    classroom = build_classroom(fresh, fresh.recipe, catalog, torch.from_numpy(catalog.labels))
    return torch.cat([value.flatten().double() for value in classroom.state_dict().values()])
