"""Two processes that share a batch learn what one process learns from it."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from lightning_fabric import Fabric

from conftest import TINY
from fit_in_turn import fit_in_turn
from preceptor import train
from preceptor.api.completion import continue_run
from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.network_file import save_network
from preceptor.recipes.resolve import resolve
from preceptor.runs.create import Data, prepare
from preceptor.runs.directory import Run
from preceptor.runs.worker import build_model
from preceptor.training.checkpoint import load_state
from preceptor.training.distributed import _in_process, launch, repeatable
from preceptor.training.process_warnings import ignore_beside_first
from preceptor.utils.errors import PreceptorError, PreceptorWarning, command_line_messages
from preceptor.utils.files import is_full
from waiting import wait_for

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
SETTINGS_ALONE = {**TINY, "networks.student.backbone": "test_efficientnet", "networks.student.pretrained": "none"}


def run(root: Path, out: Path, devices: int, **more: object) -> Run:
    return train("crckd", data="phantom", root=root, out=out, devices=devices, overrides={**SETTINGS, **more})


#: One GPU bears one process.
needs_two_devices = pytest.mark.skipif(torch.cuda.device_count() == 1, reason="this machine has one GPU")


@needs_two_devices
@pytest.mark.usefixtures("no_reports")
def test_two_processes_equal_one(phantom_root: Path, tmp_path: Path) -> None:
    """CRCKD with odd batches, which make unequal shards: the weighted mean of CE, the sample and Z of the contrast
    and the rows that banks take in all span both processes."""
    single = run(phantom_root, tmp_path / "one", 1, batch_size=33)
    two = run(phantom_root, tmp_path / "two", 2, batch_size=33)
    rows = [each.metrics.parts["train"] for each in (single, two)]
    assert rows[0] == rows[1]
    states = [load_state(each.checkpoint) for each in (single, two)]
    losses = [[row[k] for row in state["progress"]["history"] for k in row if k.startswith("loss")] for state in states]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for key, value in states[0]["model"].items():
        assert torch.allclose(value, states[1]["model"][key], rtol=1e-4, atol=2e-6), key
    weights = [flat(state["model"]) for state in states]
    start = flat(state_before(phantom_root, tmp_path))
    moved = (weights[0] - start).norm()
    assert (weights[0] - weights[1]).norm() < 1e-4 * moved, "the two agree only because little was learned"


#: Networks of which every layer has batch norm, and a mean teacher on batch statistics; one step: rounding grows.
BATCH_NORM = {
    **SETTINGS,
    "networks.student.backbone": "test_resnet",
    "networks.teacher.batch_norm": "batch",
    "epochs": 1,
    "batch_size": 200,
}


@pytest.fixture(scope="module")
def shared(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The last states of two recipes, each trained by one process and by two."""
    folder = tmp_path_factory.mktemp("shared")
    half = (0.5, 0.5, 0.5)
    classes = Data("phantom", phantom_root).catalog().classes
    teacher = Classifier(Architecture("test_resnet", classes, 32, half, half, "mlp"))
    save_network(teacher, folder / "teacher.safetensors")
    several_views = {
        **TINY,
        "epochs": 1,
        "batch_size": 33,
        "networks.teacher.run": str(folder / "teacher.safetensors"),
        "networks.student.backbone": "test_efficientnet_ln",
        "optimiser.name": "sgd",
        "optimiser.lr": 0.01,
        "optimiser.momentum": 0.0,
        "schedule.name": "constant",
    }
    states: dict[str, list[dict[str, Any]]] = {"batch norm": [], "several views": []}
    for devices, batch_norm in ((1, "per_process"), (2, "synchronised")):
        recipes = {
            "batch norm": resolve("crckd", {**BATCH_NORM, "batch_norm": batch_norm}),
            "several views": resolve("ssd_kd", several_views),
        }
        runs = {
            name: prepare(recipe, Data("phantom", phantom_root), folder / name / str(devices), devices)
            for name, recipe in recipes.items()
        }
        launch(fit_in_turn, devices, [run.path for run in runs.values()])
        for name, prepared in runs.items():
            states[name].append(load_state(prepared.checkpoint))
    return states


@needs_two_devices
def test_two_processes_with_batch_norm_equal_one_when_it_is_synchronised(shared: dict[str, list[Any]]) -> None:
    states = shared["batch norm"]
    losses = [state["progress"]["history"][0]["loss"] for state in states]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    torch.testing.assert_close(flat(states[1]["model"]), flat(states[0]["model"]), rtol=1e-3, atol=1e-4)


@needs_two_devices
def test_several_views_are_shared_too(shared: dict[str, list[Any]]) -> None:
    """SSD-KD: relations and rankings over all four views of a batch whose images lie with two processes."""
    states = shared["several views"]
    losses = [
        {key: value for key, value in state["progress"]["history"][0].items() if key.startswith("loss/")}
        for state in states
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert set(losses[0]) >= {"loss/drkd", "loss/crkd", "loss/sskd_similarity", "loss/sskd_logits"}
    weights = [flat(state["model"]) for state in states]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=1e-5)


def test_a_gpu_is_asked_to_repeat_itself_and_the_process_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # which is the user's, and gone after the test
    with repeatable(gpus=0):
        assert not torch.are_deterministic_algorithms_enabled()
    with repeatable(gpus=1):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.utils.deterministic.fill_uninitialized_memory is False  # type: ignore[attr-defined]
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory is True  # type: ignore[attr-defined]


def flat(state: dict[str, torch.Tensor]) -> torch.Tensor:
    """All weights of the networks in one vector."""
    return torch.cat([value.flatten().double() for key, value in state.items() if key.startswith("networks.")])


def state_before(root: Path, tmp_path: Path) -> dict[str, torch.Tensor]:
    """The state as it was before the first step."""
    fresh = prepare(resolve("crckd", {**SETTINGS, "batch_size": 33}), Data("phantom", root), tmp_path / "fresh")
    catalog = fresh.catalog()
    return build_model(fresh, fresh.recipe, catalog, torch.from_numpy(catalog.labels)).state_dict()


CHILD = """
import multiprocessing, os, signal, sys, time
from pathlib import Path

def wait(folder):
    from preceptor.training.distributed import end_with_parent

    end_with_parent()
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as of all that a shell starts in the background
    context = multiprocessing.get_context("spawn")
    context.Process(target=wait, args=(sys.argv[1],)).start()
    time.sleep(600)
"""


def test_a_child_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(CHILD)
    (tmp_path / "children").mkdir()
    process = subprocess.Popen([sys.executable, str(tmp_path / "script.py"), str(tmp_path / "children")])
    wait_for(lambda: any((tmp_path / "children").iterdir()), process)
    process.kill()
    process.wait()
    (child,) = [int(file.name) for file in (tmp_path / "children").iterdir()]
    until = time.monotonic() + 30
    while Path(f"/proc/{child}/fd").exists():
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            raise AssertionError("the child outlived its parent")
        time.sleep(0.02)


def test_ranks_end_with_their_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a study that is killed leaves them training, and the same command a second set beside them."""
    watched: list[bool] = []
    monkeypatch.setattr("preceptor.training.distributed.end_with_parent", lambda: watched.append(True))
    monkeypatch.setattr("preceptor.training.distributed.forward_warnings", lambda rank, send: None)
    fabric = cast(Fabric, SimpleNamespace(global_rank=0))
    assert _in_process(fabric, None, cast(Any, None), lambda fabric: watched[:], 1) == [True]


def test_a_run_is_trained_by_one_process_at_a_time(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(resolve("student", SETTINGS_ALONE), Data("phantom", phantom_root), tmp_path / "run")
    monkeypatch.setattr("preceptor.runs.worker._PATIENCE", 0)
    prepared.lock.parent.mkdir()
    with prepared.lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(PreceptorError, match="another process is training it"):
            continue_run(prepared)
    assert not prepared.checkpoint.exists()


def test_a_batch_with_less_than_two_images_for_each_process_is_refused(phantom_root: Path, tmp_path: Path) -> None:
    """Else one of them had no image, and the others waited for it."""
    data, too_many = Data("phantom", phantom_root), r"'devices' 3: .* batch_size is 4\n.*batch_size=6 or more"
    recipe = resolve("student", {**SETTINGS_ALONE, "batch_size": 4})
    with pytest.raises(PreceptorError, match=too_many):
        prepare(recipe, data, tmp_path / "run", devices=3)
    assert not (tmp_path / "run").exists()
    prepared = prepare(recipe, data, tmp_path / "run", devices=2)
    with pytest.raises(PreceptorError, match=too_many):
        continue_run(prepared, devices=3)


def test_another_number_of_processes_than_torchrun_has_started_is_refused(
    phantom_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a batch was checked against one process and shared by four."""
    data, recipe = Data("phantom", phantom_root), resolve("student", SETTINGS_ALONE)
    prepared = prepare(recipe, data, tmp_path / "prepared")
    for name, value in {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PreceptorError, match=r"'devices' 1: torchrun has started 4 processes"):
        prepare(recipe, data, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(PreceptorError, match=r"'devices' 1: torchrun has started 4 processes"):
        continue_run(prepared)


PROCESSES = """
import os, signal, sys, time
from preceptor.training.distributed import launch

def wait(fabric, folder):
    open(os.path.join(folder, str(os.getpid())), "w").close()
    time.sleep(120)

def interrupt(number, frame):
    raise KeyboardInterrupt

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)  # as the command line has it
    launch(wait, 2, sys.argv[1])
"""


def test_what_ends_the_first_process_ends_all(tmp_path: Path) -> None:
    """SIGTERM of a batch system may reach it alone, where Ctrl-C reaches each."""
    script, workers = tmp_path / "script.py", tmp_path / "workers"
    script.write_text(PROCESSES)
    workers.mkdir()
    on_cpus = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}  # also where there is one GPU, which two processes cannot take
    first = subprocess.Popen(
        [sys.executable, script, workers], stderr=subprocess.DEVNULL, start_new_session=True, env=on_cpus
    )
    try:
        wait_for(lambda: len(list(workers.iterdir())) == 2, first)
        first.terminate()
        first.wait(30)
        until = time.monotonic() + 30
        while any(Path("/proc", worker.name).exists() for worker in workers.iterdir()):
            assert time.monotonic() < until, "a process goes on"
            time.sleep(0.05)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)


def fail_on(fabric: Fabric, rank: int, error: Exception | None) -> None:
    """Raise an error in one process, or let the system kill it; the others wait."""
    if fabric.global_rank != rank:
        time.sleep(120)
    if error is None:
        os.kill(os.getpid(), signal.SIGKILL)
    assert error is not None
    raise error from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "cache")


@pytest.mark.slow
@needs_two_devices
def test_an_error_of_one_process_is_the_error_of_all() -> None:
    """torch hands on its traceback alone, which the command line would call unexpected."""
    with pytest.raises(PreceptorError) as refused:
        launch(fail_on, 2, 1, PreceptorError("objectives.kl: is infinite", remedy="lower optimiser.lr"))
    assert (refused.value.what, refused.value.remedy) == ("objectives.kl: is infinite", "lower optimiser.lr")
    assert is_full(refused.value.__cause__), "a search stops at a full disk"
    with pytest.raises(PreceptorError, match="process 1 of 2 was ended by the signal SIGKILL; perhaps memory was sh"):
        launch(fail_on, 2, 1, None)


def warn(fabric: Fabric | None = None) -> None:
    """Warn of what every process sees, and of what those that train see alone."""
    for _ in range(2):
        warnings.warn("objectives.kl: no gradient; leave it out: --skip", PreceptorWarning, stacklevel=1)
    if fabric is not None:
        warnings.warn("networks.teacher: is another", PreceptorWarning, stacklevel=1)


def test_ranks_beside_the_first_warn_of_nothing() -> None:
    """Under torchrun each is a command of its own."""
    for rank, shown in ((0, 1), (1, 0)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ignore_beside_first(rank)
            warnings.warn("objectives.kl: no gradient", PreceptorWarning, stacklevel=1)
            warnings.warn("of torch", UserWarning, stacklevel=1)
        assert len(caught) == shown + 1


@pytest.mark.slow
@needs_two_devices
def test_a_warning_of_all_processes_is_shown_once_and_as_this_one_shows_them() -> None:
    with warnings.catch_warnings(record=True) as caught, command_line_messages():
        warnings.simplefilter("default")
        warn()
        launch(warn, 2)
        warn()
        assert [str(each.message) for each in caught if each.category is PreceptorWarning] == [
            "objectives.kl: no gradient; leave it out: --skip",
            "networks.teacher: is another",
        ]
