"""One job of a study, in whatever process it runs."""

from __future__ import annotations

import os
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from preceptor.recipes.resolve import validate
from preceptor.runs.complete import OnFinished, at_work, complete
from preceptor.runs.create import Data, prepare
from preceptor.runs.directory import Run
from preceptor.study.outcome import Outcome, seconds_so_far
from preceptor.training.one_at_a_time import one_training
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import is_full
from preceptor.utils.machine import keep_freed_memory, openmp_wait_settings

#: Seconds to wait for a worker whose study was killed, and which may still be at its last step.
_PATIENCE = 60
_FULL = "\n  to do:    make room; the same command continues from the last finished epochs"
#: What libraries read their thread counts from, once, when they are loaded.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Job:
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


def work_logged(job: Job) -> Outcome:
    """:func:`work` in a process that is for this job alone: whatever it prints goes to the end of the job's log."""
    keep_freed_memory()
    try:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    except OSError as error:
        return Outcome(job.identity, "failed", f"{job.log}: cannot be written to ({error.strerror})")
    return work(job)


def work(job: Job) -> Outcome:
    """Takes a run from wherever it is (nowhere yet, or stopped after any epoch) to its end.

    Whatever goes wrong is in the outcome; the traceback goes to standard error.
    """
    began = time.perf_counter()
    before = seconds_so_far(job.path)
    torch.set_num_threads(job.threads)
    try:
        with one_training(), at_work(job.path, _PATIENCE):
            run = _prepared(job)
        if run.finished:
            _ = run.metrics  # a damaged file would pass for a finished run
        complete(run, devices=job.devices, cache=job.cache, on_finished=job.on_finished, patience=_PATIENCE)
    except PreceptorError as error:
        return Outcome(job.identity, "failed", error.message, time.perf_counter() - began + before)
    except Exception as error:  # one cell must not take the others with it
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}{_FULL if is_full(error) else ''}"
        return Outcome(job.identity, "failed", message, time.perf_counter() - began + before)
    return Outcome(job.identity, "done", "", time.perf_counter() - began + before)


def environment(threads: int) -> dict[str, str]:
    """What a worker's process must find in its environment before it loads torch."""
    return {**dict.fromkeys(THREADS, str(threads)), **openmp_wait_settings()}


def cores_taken(threads: int, devices: int) -> int:
    """How many CPU cores a job keeps busy: its processes share its threads, but each has one of its own at least."""
    return max(threads, devices)


def _prepared(job: Job) -> Run:
    run = Run(job.path)
    if not run.exists:
        run = prepare(validate(job.recipe, str(job.path)), job.data, job.path, job.devices)
    elif job.data.root is not None and str(job.data.root) != run.environment.data.root:
        run.move_data(job.data.root)
        run = Run(job.path)  # what was read of it before names the old place
    if run.environment.marked != job.mark:
        run.write_environment(run.environment.model_copy(update={"marked": job.mark}))
    return run
