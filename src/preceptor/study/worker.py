"""One job of a study, in whatever process it runs."""

from __future__ import annotations

import math
import os
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from preceptor.recipes.resolve import validate
from preceptor.runs.complete import OnFinished, at_work, complete
from preceptor.runs.create import Data, prepare
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError
from preceptor.utils.machine import openmp_wait_settings

#: Seconds to wait for a worker whose study was killed, and which may still be at its last step.
_PATIENCE = 60
State = Literal["done", "failed", "pending"]
#: What libraries read their thread counts from, once, when they are loaded.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Task:
    """All that a worker needs; plain enough to travel to another process or machine that sees the same folders.

    ``log`` is where its process prints; ``mark`` is what the run must say of itself wherever it is shown;
    ``on_finished`` is called with the finished run.
    """

    identity: str
    path: Path
    recipe: dict[str, Any]
    data: Data
    threads: int
    devices: int
    cache: Path | None
    log: Path
    mark: str = ""
    on_finished: OnFinished | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a task; ``seconds`` includes what earlier sessions of the same run took.

    One that is pending may have an error too: of its last try, until this one has ended.
    """

    identity: str
    state: State
    error: str = ""
    seconds: float = 0.0


def work_logged(task: Task) -> Outcome:
    """:func:`work` in a process that is for this task alone: whatever it prints goes to the end of the task's log."""
    try:
        task.log.parent.mkdir(parents=True, exist_ok=True)
        with task.log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    except OSError as error:
        return Outcome(task.identity, "failed", f"{task.log}: cannot be written to ({error.strerror})")
    return work(task)


def work(task: Task) -> Outcome:
    """Takes a run from wherever it is (nowhere yet, or stopped after any epoch) to its end.

    Whatever goes wrong is in the outcome; the traceback goes to standard error.
    """
    began = time.perf_counter()
    before = seconds_so_far(task.path)
    torch.set_num_threads(task.threads)
    try:
        with at_work(task.path, _PATIENCE):
            run = _prepared(task)
        if run.finished:
            _ = run.metrics  # a damaged file would pass for a finished run
        complete(run, devices=task.devices, cache=task.cache, on_finished=task.on_finished, patience=_PATIENCE)
    except PreceptorError as error:
        return Outcome(task.identity, "failed", error.message, time.perf_counter() - began + before)
    except Exception as error:  # one cell must not take the others with it
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        return Outcome(task.identity, "failed", message, time.perf_counter() - began + before)
    return Outcome(task.identity, "done", "", time.perf_counter() - began + before)


def environment(threads: int) -> dict[str, str]:
    """What a worker's process must find in its environment before it loads torch."""
    return {**dict.fromkeys(THREADS, str(threads)), **openmp_wait_settings()}


def cores_taken(threads: int, devices: int) -> int:
    """How many CPU cores a task keeps busy: its processes share its threads, but each has one of its own at least."""
    return max(threads, devices)


def seconds_so_far(path: Path) -> float:
    """What the epochs of a run took that are done already."""
    return sum(_epoch_seconds(path))


def epochs_done(path: Path) -> int:
    return len(_epoch_seconds(path))


def _epoch_seconds(path: Path) -> list[float]:
    """Of a history that cannot be read, none: it is written anew from the run's checkpoint."""
    try:
        head, *rows = (path / "history.csv").read_text().splitlines()
        column = head.split(",").index("seconds")
        seconds = [float(row.split(",")[column]) for row in rows]
    except (OSError, ValueError, IndexError):
        return []
    return seconds if all(map(math.isfinite, seconds)) else []


def _prepared(task: Task) -> Run:
    run = Run(task.path)
    if not run.exists:
        run = prepare(validate(task.recipe, str(task.path)), task.data, task.path, task.devices)
    elif task.data.root is not None and str(task.data.root) != run.environment.data.root:
        run.move_data(task.data.root)
        run = Run(task.path)  # what was read of it before names the old place
    if run.environment.marked != task.mark:
        run.write_environment(run.environment.model_copy(update={"marked": task.mark}))
    return run
