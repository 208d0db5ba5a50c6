"""Processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from preceptor.study.outcome import Outcome
from preceptor.study.worker import Job, cores_taken, environment, work_logged
from preceptor.training.distributed import end_with_parent
from preceptor.utils.errors import PreceptorError
from preceptor.utils.machine import memory, usable_cores
from preceptor.utils.main_guard import GUARD

#: Memory to count on for a cell; a U-Net at 224 px takes about this.
_MEMORY = 3 * 2**30
_PATIENCE = 60  # seconds for a process that has said all to end


def workers_for(runs: int, threads: int | None, devices: int) -> int:
    """How many of ``runs`` this machine bears at once: by GPUs where it has some, else by cores and free memory."""
    gpus, sizes = torch.cuda.device_count(), memory()
    by_cores = usable_cores() // cores_taken(threads or 1, devices)
    by_memory = by_cores if sizes is None else sizes[1] // _MEMORY
    return max(1, min(runs, gpus // devices if gpus else min(by_cores, by_memory)))


class LocalEngine:
    """A process for each job, at most ``workers`` at once, each with ``threads`` threads.

    Processes are forked from one server that has loaded the libraries already, so that a job starts at once and
    still shares nothing with those before it. They end with the process that asked for them, however that one ends.

    Args:
        workers: jobs at once.
        threads: CPU threads of each.
        devices: GPUs of each, where there are some; with more workers than that allows, workers share GPUs.
    """

    def __init__(self, workers: int, threads: int, devices: int) -> None:
        self.workers, self._threads = workers, threads
        self._context: Any = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
        if hasattr(os, "fork"):
            self._context.set_forkserver_preload([work_logged.__module__])
            with _with_environment(environment(threads)):
                forkserver.ensure_running()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        gpus = visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
        self._free = [
            [gpus[(slot * devices + number) % len(gpus)] for number in range(devices)] if gpus else []
            for slot in reversed(range(workers))
        ]
        self._queue: deque[Job] = deque()
        self._at_work: dict[str, _Worker] = {}

    def submit(self, job: Job) -> None:
        self._queue.append(job)
        self._fill()

    def results(self, seconds: float) -> list[Outcome]:
        workers = {worker.receive: worker for worker in self._at_work.values()}
        outcomes = []
        for ready in wait(list(workers), timeout=seconds):
            worker = workers[ready]  # type: ignore[index]
            outcomes.append(worker.outcome())
            del self._at_work[worker.job.identity]
            self._free.append(worker.gpus)
        self._fill()
        return outcomes

    def running(self) -> set[str]:
        return set(self._at_work)

    def close(self) -> None:
        for worker in self._at_work.values():
            worker.process.terminate()
        for worker in self._at_work.values():
            worker.process.join()
        self._at_work.clear()
        self._queue.clear()

    def _fill(self) -> None:
        while self._queue and self._free:
            job, gpus = self._queue.popleft(), self._free.pop()
            self._at_work[job.identity] = self._started(job, gpus)

    def _started(self, job: Job, gpus: list[str]) -> _Worker:
        """Start a worker; where the server of processes was ended meanwhile, from a new one."""
        for last in (False, True):
            receive, send = self._context.Pipe(duplex=False)
            process = self._context.Process(target=_serve, args=(job, gpus, send))
            try:
                with _with_environment(environment(self._threads)):  # which a new server must find, too
                    process.start()
            except (EOFError, ConnectionError) as error:
                receive.close()
                if last:
                    raise PreceptorError(
                        f"no process can be started for {job.path.name}: the one that starts them is ended each time",
                        remedy="see whether memory is short (fewer --workers need less); the same command continues",
                    ) from error
            else:
                return _Worker(job, gpus, process, receive)
            finally:
                send.close()
        raise AssertionError


@dataclass
class _Worker:
    job: Job
    gpus: list[str]
    process: BaseProcess
    receive: Connection

    def outcome(self) -> Outcome:
        """Return the worker's outcome or, if it ended without sending one, how it ended."""
        try:
            return self.receive.recv()
        except EOFError:
            pass
        finally:
            self.receive.close()
            self.process.join(_PATIENCE)
            self.process.kill()
        code = self.process.exitcode or 0
        if code > 0 and not self.job.log.exists():  # what it printed went to the screen
            why = f"its process ended with exit code {code} before its work began; in a script, {GUARD}"
            return Outcome(self.job.identity, "failed", why)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        hint = "; perhaps memory was short: use fewer --workers" if code == -signal.SIGKILL else ""
        return Outcome(self.job.identity, "failed", f"its process ended with {how}{hint} (log: {self.job.log})")


def _serve(job: Job, gpus: list[str], send: Connection) -> None:
    """What a worker's process does: its job, and nothing after its parent has gone."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent says what there is to say
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    send.send(work_logged(job))


@contextmanager
def _with_environment(changes: dict[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
