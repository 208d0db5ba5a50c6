"""A Ray cluster, or Ray on this machine. Every node must see the study's folder, the data and the package."""

from __future__ import annotations

import logging
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from preceptor.study.outcome import Outcome
from preceptor.study.worker import Job, cores_taken, environment, work_logged
from preceptor.utils.errors import PreceptorError

#: A node that goes away takes its jobs with it; Ray starts them elsewhere, where they go on from their checkpoint.
_RETRIES = 3
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class RayEngine:
    """Each job in a Ray worker of its own that reserves the CPUs it keeps busy and, where the cluster has GPUs,
    ``devices`` of them.

    Args:
        address: of the cluster, from one of its nodes (``auto``, or ``HOST:6379``); None is ``$RAY_ADDRESS``, and
            without that starts Ray on this machine for as long as the study takes, beside any cluster that runs here.
        workers: jobs at once, at most; None leaves it to the cluster's CPUs and GPUs.
        threads: CPU threads of each job.
        devices: processes of each job, a GPU each where there are some.

    Raises:
        PreceptorError: Ray is not installed, there is no cluster at the address, or no node has room for a job.
    """

    def __init__(self, address: str | None, workers: int | None, threads: int, devices: int) -> None:
        try:
            import ray
        except ModuleNotFoundError:
            raise PreceptorError(
                "--engine ray: Ray is not installed", remedy="pip install 'preceptor[ray]', or use --engine local"
            ) from None
        self._ray: Any = ray
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray will do anyway, and warns of
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics leave this machine
        variable = os.environ.get("RAY_ADDRESS")
        where = address or variable or "local"
        local: dict[str, Any] = {"include_dashboard": False} if where == "local" else {}
        try:
            ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR, **local)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise _unreachable(where, "--address " if address else "RAY_ADDRESS=" if variable else "", error) from None
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = devices if any(node.get("GPU", 0) for node in nodes) else 0
        try:
            room = _room(nodes, cores_taken(threads, devices), gpus)
        except PreceptorError:
            ray.shutdown()
            raise
        self.workers = min(room, workers or room)
        self._remote = ray.remote(
            num_cpus=cores_taken(threads, devices),
            num_gpus=gpus,
            max_calls=1,
            max_retries=_RETRIES,
            runtime_env={"env_vars": environment(threads)},
        )(_work)
        self._waiting: list[Job] = []
        self._at_work: dict[Any, str] = {}

    def submit(self, job: Job) -> None:
        self._waiting.append(job)
        self._fill()

    def results(self, seconds: float) -> list[Outcome]:
        """As :meth:`Engine.results` says; a job that Ray gave up (a node lost for good) is a failed one."""
        if not self._at_work:
            return []
        ready, _ = self._ray.wait(list(self._at_work), num_returns=1, timeout=seconds)
        outcomes = []
        for job in ready:
            identity = self._at_work.pop(job)
            try:
                outcomes.append(self._ray.get(job))
            except self._ray.exceptions.RayError as error:
                outcomes.append(Outcome(identity, "failed", _in_words(error)))
        self._fill()
        return outcomes

    def running(self) -> set[str]:
        return set(self._at_work.values())

    def close(self) -> None:
        for job in self._at_work:
            self._ray.cancel(job, force=True)
        self._ray.shutdown()

    def _fill(self) -> None:
        while self._waiting and len(self._at_work) < self.workers:
            job = self._waiting.pop(0)
            self._at_work[self._remote.remote(job, sys.argv, os.getcwd())] = job.identity


def _unreachable(where: str, said_by: str, error: Exception) -> PreceptorError:
    if where == "local":
        return PreceptorError(f"--engine ray: Ray cannot start on this machine ({error})")
    return PreceptorError(
        f"{said_by}{where}: no Ray cluster ({error})",
        expected="auto or HOST:6379 of a cluster that runs, on one of its nodes",
        remedy="start one: ray start --head",
    )


def _in_words(error: Exception) -> str:
    """What a job raised, as it would be said without Ray; of a worker or node that was lost, what Ray says first."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return _COLOURS.sub("", f"{type(cause).__name__}: {cause}")
    lines = _COLOURS.sub("", str(error)).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _room(nodes: Sequence[Mapping[str, float]], cpus: int, gpus: int) -> int:
    """Return how many cells the nodes hold at once. A cell runs on one node and cannot be split between two.

    Raises:
        PreceptorError: none has room for a cell, which Ray would wait for silently.
    """

    def holds(node: Mapping[str, float]) -> int:
        cells = int(node.get("CPU", 0)) // cpus
        return min(cells, int(node.get("GPU", 0)) // gpus) if gpus else cells

    room = sum(map(holds, nodes))
    if room < 1:
        largest = max(nodes, key=lambda node: (node.get("GPU", 0), node.get("CPU", 0)), default={})
        has = f"{largest.get('CPU', 0):.0f} CPUs" + (f" and {largest.get('GPU', 0):.0f} GPUs" if gpus else "")
        takes = f"{cpus} CPUs" + (f" and {gpus} GPUs" if gpus else "")
        raise PreceptorError(
            f"--engine ray: the largest node has {has}, a cell takes {takes}",
            expected="room for a cell on one node",
            remedy="set threads or devices lower, or add a larger node",
        )
    return room


def _work(job: Job, command: list[str], folder: str) -> Outcome:
    sys.argv = command  # which the run's environment.json tells
    try:
        os.chdir(folder)  # where relative paths of a recipe start from
    except OSError as error:
        reason = f"the folder {folder}, in which the command was given, cannot be entered on {platform.node()}"
        return Outcome(job.identity, "failed", f"{reason} ({error.strerror}); it must be the same on every node")
    return work_logged(job)
