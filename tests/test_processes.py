"""Two processes that share a batch learn what one process learns from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from conftest import TINY
from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.files import save_network
from preceptor.recipes.resolve import resolve
from preceptor.training.api import train
from preceptor.training.checkpoint import load_state
from preceptor.training.fit import build_classroom
from preceptor.training.prepare import Data, prepare
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
    "objectives.ccd.weight": 0.1,
    "objectives.ccd.positives": 4,
    "objectives.ccd.negatives": 40,
    "objectives.crp.weight": 1.0,
}


def run(root: Path, out: Path, devices: int, **more: object) -> Run:
    return train("crckd", data="phantom", root=root, out=out, devices=devices, overrides={**SETTINGS, **more})


def test_two_processes_equal_one(phantom_root: Path, tmp_path: Path) -> None:
    """CRCKD with odd batches, which make unequal shards: the weighted mean of CE, the sample and Z of the contrast
    and the rows that banks take in all span both processes."""
    one = run(phantom_root, tmp_path / "one", 1, batch_size=33)
    two = run(phantom_root, tmp_path / "two", 2, batch_size=33)
    rows = [each.metrics["parts"]["train"] for each in (one, two)]
    assert rows[0] == rows[1]
    states = [load_state(each.checkpoint) for each in (one, two)]
    losses = [[row[k] for row in state["progress"]["history"] for k in row if k.startswith("loss")] for state in states]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for key, value in states[0]["classroom"].items():
        assert torch.allclose(value, states[1]["classroom"][key], rtol=1e-4, atol=2e-6), key
    weights = [flat(state["classroom"]) for state in states]
    start = flat(state_before(phantom_root, tmp_path))
    moved = (weights[0] - start).norm()
    assert (weights[0] - weights[1]).norm() < 1e-4 * moved, "the two agree only because little was learned"


def flat(state: dict[str, torch.Tensor]) -> torch.Tensor:
    """All weights of the networks in one vector."""
    return torch.cat([value.flatten().double() for key, value in state.items() if key.startswith("networks.")])


def state_before(root: Path, tmp_path: Path) -> dict[str, torch.Tensor]:
    """The state as it was before the first step."""
    fresh = prepare(resolve("crckd", {**SETTINGS, "batch_size": 33}), Data("phantom", root), tmp_path / "fresh")
    catalog = fresh.catalog()
    return build_classroom(fresh, fresh.recipe, catalog, torch.from_numpy(catalog.labels)).state_dict()


def test_several_views_are_shared_too(phantom_root: Path, tmp_path: Path) -> None:
    """SSD-KD: relations and rankings over all four views of a batch whose images lie with two processes."""
    half = (0.5, 0.5, 0.5)
    classes = Data("phantom", phantom_root).catalog().classes
    teacher = Classifier(Architecture("test_resnet", classes, 32, half, half, "mlp"))
    save_network(teacher, tmp_path / "teacher.safetensors")
    settings = {
        **TINY,
        "epochs": 1,
        "batch_size": 33,
        "networks.teacher.run": str(tmp_path / "teacher.safetensors"),
        "networks.student.backbone": "test_efficientnet_ln",
        "optimiser.name": "sgd",
        "optimiser.lr": 0.01,
        "optimiser.momentum": 0.0,
        "schedule.name": "constant",
    }
    states = []
    for devices in (1, 2):
        out = tmp_path / str(devices)
        made = train("ssd_kd", data="phantom", root=phantom_root, out=out, devices=devices, overrides=settings)
        states.append(load_state(made.checkpoint))
    losses = [
        {key: value for key, value in state["progress"]["history"][0].items() if key.startswith("loss/")}
        for state in states
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert set(losses[0]) >= {"loss/drkd", "loss/crkd", "loss/sskd_similarity", "loss/sskd_logits"}
    weights = [flat(state["classroom"]) for state in states]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=1e-5)
