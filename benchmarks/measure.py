"""Time and memory of a function, measured the same way for everything that is compared."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile


def seconds(*functions: Callable[[], object], repeats: int = 7) -> list[float]:
    """The least wall time of each function: the turn that other work on the machine disturbed the least."""
    times: list[list[float]] = [[] for _ in functions]
    for turn in range(repeats + 1):
        for function, taken in zip(functions, times, strict=True):
            _wait()
            start = time.perf_counter()
            function()
            _wait()
            if turn:  # the first is for warming up
                taken.append(time.perf_counter() - start)
    return [min(taken) for taken in times]


def seconds_in_a_row(step: Callable[[], object], repeats: int) -> float:
    """The mean wall time of steps that follow each other as in training: on a GPU the host may run ahead of it."""
    _wait()
    began = time.perf_counter()
    for _ in range(repeats):
        step()
    _wait()
    return (time.perf_counter() - began) / repeats


def step_seconds(*steps: Callable[[], object], repeats: int = 9, warm_up: int = 2) -> list[float]:
    """The median time of each step, taken in turns: CPU time of the process, or on a GPU the time that passes.

    CPU time does not count what other work on the machine takes.
    """
    times: list[list[float]] = [[] for _ in steps]
    for turn in range(repeats + warm_up):
        for step, taken in zip(steps, times, strict=True):
            seconds_taken = timed(step)
            if turn >= warm_up:
                taken.append(seconds_taken)
    return [statistics.median(taken) for taken in times]


def timed(step: Callable[[], object]) -> float:
    """The time of one call: CPU time of the process, or on a GPU the time that passes."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    _wait()
    start = clock()
    step()
    _wait()
    return clock() - start


def extra_memory(function: Callable[[], object], device: torch.device) -> int:
    """Bytes that tensors hold at the most during a call, beyond those that were there before."""
    function()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        return torch.cuda.max_memory_allocated(device) - before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            function()
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
