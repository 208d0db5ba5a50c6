"""``select.epoch: each``: every network keeps the weights of the epoch that is its own best."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import TINY
from preceptor import train
from preceptor.recipes.resolve import resolve
from preceptor.training.checkpoint import load_state
from small_recipe import refused

SMALL = {"backbone": "test_efficientnet", "pretrained": "none", "epochs": 4, "optimiser.lr": 3e-3}


def test_each_network_has_its_own_best_epoch(phantom_root: Path, tmp_path: Path) -> None:
    changes = {**TINY, **SMALL, "select.epoch": "each", "select.metric": "nll"}
    run = train("ml_v1", data="phantom", root=phantom_root, out=tmp_path / "run", overrides=changes)
    metrics = run.metrics
    assert metrics.selected_epoch is None
    for name in ("student_1", "student_2"):
        column = run.history[f"validation/{name}/nll"]
        network = metrics.networks[name]
        assert network.selected_epoch == int(column.idxmin()) + 1
        assert load_state(run.checkpoints.best_of(name))["epoch"] == network.selected_epoch
        assert network.validation is not None
        assert network.validation["nll"] == pytest.approx(column.min(), abs=1e-5)
    page = run.report.read_text(encoding="utf-8")
    epochs = [metrics.networks[name].selected_epoch for name in ("student_1", "student_2")]
    assert f"student_1 {epochs[0]}, student_2 {epochs[1]}." in page


def test_it_needs_a_metric_of_a_validation_part() -> None:
    refused(lambda: resolve("ml_v1", {"select.epoch": "each", "select.metric": "last"}), "select.epoch")
    refused(lambda: resolve("ml_v1", {"select.epoch": "each", "protocol": "paper"}), "select.epoch")
    assert "epoch" not in resolve("ml_v1").plain()["select"]
