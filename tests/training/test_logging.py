from __future__ import annotations

import errno
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from preceptor.training.logging import TensorBoardLogger

ROWS = [{"epoch": 1, "loss": 2.0, "validation/student/iou": 0.25}, {"epoch": 2, "loss": 1.5}]


def shown(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path / "tensorboard")
    for row in ROWS:
        logger.write(row)
    assert shown(tmp_path / "tensorboard") == {"loss": [(1, 2.0), (2, 1.5)], "validation/student/iou": [(1, 0.25)]}
    logger.close()


def test_a_resumed_run_logs_what_its_checkpoint_says(tmp_path: Path) -> None:
    killed = TensorBoardLogger(tmp_path)
    killed.write({"epoch": 1, "loss": 9.0})
    killed.close()
    resumed = TensorBoardLogger(tmp_path)
    resumed.restore(ROWS[:1])
    resumed.write(ROWS[1])
    resumed.close()
    assert shown(tmp_path)["loss"] == [(1, 2.0), (2, 1.5)]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_error_that_names_the_file(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    logger._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
    with pytest.raises(OSError, match=r"/dev/full") as caught:
        logger.write(ROWS[0])
    assert caught.value.errno == errno.ENOSPC
    logger.close()
