"""Checkpoints: what is read back, what is refused, and which older format still counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from preceptor.training.checkpoint import FORMAT, CheckpointStore, Progress, load_state, save_state
from preceptor.utils.errors import PreceptorError


def store(folder: Path, epochs: int = 2) -> CheckpointStore:
    checkpoints = CheckpointStore(folder / "checkpoints")
    history = [{"epoch": epoch + 1, "loss": 0.5} for epoch in range(epochs)]
    checkpoints.save(Progress(epoch=epochs, step=10, history=history), {"model": nn.Linear(2, 3), "schedule": None})
    return checkpoints


def test_what_was_saved_is_restored(tmp_path: Path) -> None:
    checkpoints, model = store(tmp_path), nn.Linear(2, 3)
    progress = checkpoints.restore({"model": model, "schedule": None})
    assert progress == checkpoints.progress()
    assert (progress.epoch, progress.step, len(progress.history)) == (2, 10, 2)
    assert torch.equal(model.weight, load_state(checkpoints.last)["model"]["weight"])


def test_without_a_checkpoint_nothing_changes(tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    before = model.weight.clone()
    assert CheckpointStore(tmp_path).restore({"model": model}) == Progress()
    assert torch.equal(model.weight, before)


def test_format_1_is_read_by_renaming(tmp_path: Path) -> None:
    weights = {"networks.student.w": torch.ones(1), "terms.ccd.loss.log_z": torch.zeros(1), "banks.student.rows": 1}
    save_state(tmp_path / "last.pt", {"format": 1, "progress": {"epoch": 3}, "classroom": weights})
    state = load_state(tmp_path / "last.pt")
    assert set(state["model"]) == {"networks.student.w", "objectives.ccd.loss.log_z", "banks.student.rows"}
    assert CheckpointStore(tmp_path).progress().epoch == 3


@pytest.mark.parametrize("number", [0, FORMAT + 1, "2", None])
def test_an_unknown_format_is_refused(tmp_path: Path, number: object) -> None:
    checkpoints = store(tmp_path)
    save_state(checkpoints.last, {**load_state(checkpoints.last), "format": number})
    with pytest.raises(PreceptorError, match=r"last\.pt: the checkpoint is of format") as caught:
        checkpoints.restore({"model": nn.Linear(2, 3)})
    assert f"format 1 or {FORMAT}" in str(caught.value)


@pytest.mark.parametrize("parts", [{"model": nn.Linear(4, 3)}, {"model": nn.Linear(2, 3), "schedule": nn.ReLU()}, {}])
def test_the_state_of_another_recipe_is_refused(tmp_path: Path, parts: dict[str, nn.Module]) -> None:
    with pytest.raises(PreceptorError, match=r"last\.pt: the checkpoint does not fit this run's recipe"):
        store(tmp_path).restore(parts)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut", b"not a checkpoint"])
def test_a_damaged_file_is_one_error(tmp_path: Path, content: bytes) -> None:
    checkpoints = store(tmp_path)
    checkpoints.last.write_bytes(content)
    with pytest.raises(PreceptorError, match=r"last\.pt: cannot be read") as caught:
        checkpoints.progress()
    assert "checkpoints/" in str(caught.value)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    checkpoints = store(tmp_path)
    torch.save([1, 2], checkpoints.last)
    with pytest.raises(PreceptorError, match="is no checkpoint of a run"):
        checkpoints.progress()


def test_a_single_changed_bit_is_noticed(tmp_path: Path) -> None:
    checkpoints = store(tmp_path)
    weights = load_state(checkpoints.last)["model"]["weight"].numpy().tobytes()
    content = bytearray(checkpoints.last.read_bytes())
    content[content.index(weights) + 3] ^= 1
    checkpoints.last.write_bytes(content)
    with pytest.raises(PreceptorError, match=r"last\.pt: cannot be read"):
        checkpoints.progress()
