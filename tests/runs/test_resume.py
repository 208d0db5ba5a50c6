"""A run that was killed and resumed ends as one that never stopped, in every bit.

The run is CRCKD, which has the most to remember: a mean teacher, ramps, memory banks, Z, heads, samples, dropout.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import TINY, without_reports
from preceptor import train
from preceptor.api.completion import continue_run
from preceptor.recipes.resolve import resolve
from preceptor.runs.directory import Run
from preceptor.training.checkpoint import Progress, load_state, save_state
from preceptor.utils import files as atomic
from waiting import epochs_done, wait_for

SETTINGS = {
    **TINY,
    "epochs": 3,
    "networks.student.backbone": "test_efficientnet",
    "networks.student.pretrained": "none",
    "networks.student.dropout": 0.3,
    "objectives.kl.weight": {"ramp": "gaussian", "epochs": 2},
    "objectives.ccd.positives": 4,
    "objectives.ccd.negatives": 40,
    "views.teacher.policy": "ssd_kd",
}


pytestmark = pytest.mark.usefixtures("no_reports")


def start(root: Path, out: Path) -> Run:
    return train("crckd", data="phantom", root=root, out=out, overrides=SETTINGS)


@pytest.fixture(scope="module")
def unstopped(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with without_reports():
        return start(phantom_root, tmp_path_factory.mktemp("unstopped") / "run")


@pytest.fixture(scope="module")
def halfway(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was stopped after its second epoch; tests go on with a copy."""
    return stopped_after(2, phantom_root, tmp_path_factory.mktemp("halfway") / "run").path


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Places where two states differ, with no tolerance; how long an epoch took is not state."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [key for key in one.keys() | other.keys() if key != "seconds"]
        missing = [f"{place}/{key}" for key in keys if key not in one or key not in other]
        return missing + [
            result
            for key in keys
            if key in one and key in other
            for result in differences(one[key], other[key], f"{place}/{key}")
        ]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        return [f for i, (a, b) in enumerate(zip(one, other, strict=True)) for f in differences(a, b, f"{place}/{i}")]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [place]
    return [] if type(one) is type(other) and one == other else [place]


def compare(one: Run, other: Run) -> list[str]:
    """Differences of the final checkpoints, the selected weights and the predictions of two runs."""
    result = differences(load_state(one.checkpoint), load_state(other.checkpoint))
    result += differences(load_state(one.best), load_state(other.best), "best")
    for name in ("predictions.csv", "student.safetensors", "teacher.safetensors"):
        if (one.path / name).read_bytes() != (other.path / name).read_bytes():
            result.append(name)
    return result


def test_the_same_run_twice_is_the_same(unstopped: Run, phantom_root: Path, tmp_path: Path) -> None:
    assert compare(unstopped, start(phantom_root, tmp_path / "again")) == []


@pytest.mark.parametrize("epochs_before", [0, 1])
def test_killed_and_resumed(unstopped: Run, phantom_root: Path, tmp_path: Path, epochs_before: int) -> None:
    out = tmp_path / "run"
    words = [f"{key}={value}" for key, value in SETTINGS.items() if not isinstance(value, dict)]
    words += ["objectives.kl.weight={ramp: gaussian, epochs: 2}"]
    command = [
        sys.executable,
        "-m",
        "preceptor",
        "train",
        "crckd",
        "--data",
        "phantom",
        "--root",
        str(phantom_root),
    ]
    process = subprocess.Popen([*command, "--out", str(out), *words], stdout=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: (out / "environment.json").is_file() and epochs_done(out) >= epochs_before, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert epochs_done(out) < SETTINGS["epochs"], "the run was over before it was killed"
    assert compare(unstopped, continue_run(Run(out))) == []


class PowerCut(BaseException):
    """Stands for the machine going away: nothing in the program catches it."""


@pytest.mark.parametrize("writes", range(1, 17, 3))
def test_stopped_at_any_write(
    unstopped: Run, phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Whichever file was the last to be written whole, the run goes on from there."""
    real, done = Path.replace, [0]

    def replace(self: Path, target: Path) -> Path:
        if done[0] >= writes and target.is_relative_to(tmp_path):
            raise PowerCut
        done[0] += target.is_relative_to(tmp_path)
        return real(self, target)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(atomic.Path, "replace", replace)
        try:
            start(phantom_root, out)
        except PowerCut:
            pass
        else:
            pytest.fail(f"a run makes only {done[0]} writes")
    run = Run(out) if (out / "environment.json").is_file() else None
    assert compare(unstopped, continue_run(run) if run else start(phantom_root, out)) == []


def _forget_moments(state: dict[str, Any]) -> None:
    state["optimiser"]["state"] = {}


def _forget_schedule(state: dict[str, Any]) -> None:
    state["schedule"]["last_epoch"] = 0


def _forget_teacher(state: dict[str, Any]) -> None:
    for key, value in state["model"].items():
        if key.startswith("networks.teacher.network.backbone"):
            state["model"][key] = state["model"][key.replace("teacher.network", "student")].clone()
            assert value.shape == state["model"][key].shape


def _forget_steps(state: dict[str, Any]) -> None:
    state["progress"]["step"] = 0


def _forget_history(state: dict[str, Any]) -> None:
    state["progress"]["history"] = state["progress"]["history"][:1]


def _forget_bank(state: dict[str, Any]) -> None:
    state["model"]["banks.teacher.rows"].neg_()


def _forget_normaliser(state: dict[str, Any]) -> None:
    state["model"]["objectives.ccd.loss.log_z"].add_(1)


FORGET = [
    _forget_moments,
    _forget_schedule,
    _forget_teacher,
    _forget_steps,
    _forget_history,
    _forget_bank,
    _forget_normaliser,
]


@pytest.mark.parametrize("forget", FORGET, ids=lambda forget: forget.__name__)
def test_negative_control(unstopped: Run, halfway: Path, tmp_path: Path, forget: Callable[[Any], None]) -> None:
    """A checkpoint that lost one item must be noticed by :func:`compare`, or the tests above prove nothing."""
    run = Run(shutil.copytree(halfway, tmp_path / "run"))
    state = load_state(run.checkpoint)
    forget(state)
    save_state(run.checkpoint, state)
    assert compare(unstopped, continue_run(run)) != []


def stopped_after(epochs: int, root: Path, out: Path) -> Run:
    from preceptor.training.loop import Training

    keep = Training.save

    def keep_and_stop(self: Training, on_epoch: Callable[[Progress], object] | None = None) -> None:
        keep(self, on_epoch)
        if self.progress.epoch == epochs:
            raise PowerCut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "save", keep_and_stop)
        with pytest.raises(PowerCut):
            start(root, out)
    return Run(out)


def test_stopped_after_is_itself_harmless(unstopped: Run, halfway: Path, tmp_path: Path) -> None:
    run = Run(shutil.copytree(halfway, tmp_path / "run"))
    assert compare(unstopped, continue_run(run)) == []


def test_settings_are_those_of_the_recipe() -> None:
    """Guards the tests above: dropout, ramps, banks and two different draws are in the run that they compare."""
    recipe = resolve("crckd", SETTINGS)
    assert recipe.networks["student"].dropout == 0.3
    assert recipe.views["teacher"].policy == "ssd_kd"
    assert recipe.objectives[1].weight != 1.0
