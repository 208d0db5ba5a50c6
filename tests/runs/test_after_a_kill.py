"""What is written after a checkpoint can be written again from it: tables, TensorBoard, and no halves are left."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import TINY
from preceptor import train
from preceptor.api.completion import continue_run
from preceptor.runs.directory import Run
from preceptor.training.logging import TensorBoardLogger

SETTINGS = {**TINY, "backbone": "test_efficientnet", "pretrained": "none"}


pytestmark = pytest.mark.usefixtures("no_reports")


class PowerCut(BaseException):
    """Stands for the machine going away: nothing in the program catches it."""


def cut(*_: object) -> None:
    raise PowerCut


def logged_epochs(run: Run) -> list[int]:
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    return [event.step for event in events.Scalars("loss")]


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("place", [(Run, "write_history"), (TensorBoardLogger, "write")])
def test_killed_between_the_checkpoint_and_the_table(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int, place: tuple[type, str]
) -> None:
    out, settings = tmp_path / "run", {**SETTINGS, "epochs": epochs}
    with monkeypatch.context() as patch:
        patch.setattr(*place, cut)
        with pytest.raises(PowerCut):
            train("student", data="phantom", root=phantom_root, out=out, overrides=settings)
    (out / "checkpoints" / ".last.pt.4711.tmp").write_bytes(b"half")
    (out / ".history.csv.4711.tmp").write_bytes(b"half")
    run = continue_run(Run(out))
    assert list(pd.read_csv(out / "history.csv")["epoch"]) == list(range(1, epochs + 1))
    assert logged_epochs(run) == list(range(1, epochs + 1))
    assert not [path for path in out.rglob("*.tmp")]
