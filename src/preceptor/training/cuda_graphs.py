"""Recording of work as CUDA graphs, and refusing of what no graph can hold before anything is recorded."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from preceptor.utils.errors import PreceptorError

#: What some work gave, and a function that repeats the work and writes what it gives into the same tensors.
Recorded = tuple[Sequence[Tensor | None], Callable[[], object]]
Recorder = Callable[[Callable[[], Sequence[Tensor | None]]], Recorded]
#: Passes before a graph is recorded, in which libraries set themselves up; the last shows what no graph can hold.
WARM_UP = 3


class UnrecordableError(PreceptorError):
    """A pass does what no graph can hold; nothing was recorded, and other modes can be tried."""


class BrokenRecordingError(PreceptorError):
    """A recording was broken off, after which torch's memory and generators on the GPU cannot be relied upon."""


def cuda_recorder() -> Recorder:
    """Return a recorder of CUDA graphs that share their memory, and are repeated in the order in which they were made.

    Other threads, such as one that copies batches ahead, may use the GPU meanwhile.
    """
    pool = torch.cuda.graph_pool_handle()

    def record(work: Callable[[], Sequence[Tensor | None]]) -> Recorded:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                given = work()
        except Exception as error:
            torch.cuda.set_stream(stream)  # which torch does not put back where a recording is broken off
            raise BrokenRecordingError(
                f"precision: the recording of CUDA graphs was broken off ({error.__context__ or error!s:.300})",
                remedy="leave +graphed out (name modes in place of auto), or lower batch_size if memory was short",
            ) from error
        return given, graph.replay

    return record


def warm_up(work: Callable[[], object]) -> None:
    """Run some work a few times on a stream of its own, as long as libraries set themselves up.

    Raises:
        UnrecordableError: it reads a value back from the GPU, or draws random numbers on the host.
    """
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()), nothing_drawn_on_the_host():
        for _ in range(WARM_UP - 1):
            work()
        with _nothing_read_back():
            work()
    torch.cuda.synchronize()


@contextmanager
def _nothing_read_back() -> Iterator[None]:
    """Context manager: refuses work that reads a value back from the GPU, for which the host would wait."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls this a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    except RuntimeError as error:
        if "synchronizing" not in str(error):
            raise
        raise UnrecordableError(
            "precision: a pass that reads a value back from the GPU cannot be recorded as CUDA graphs",
            remedy="leave +graphed out, or compute it without .item(), nonzero() and the like",
        ) from error
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextmanager
def nothing_drawn_on_the_host() -> Iterator[None]:
    """Context manager: refuses work that draws from torch's, Python's or numpy's generator on the host.

    A graph would repeat what was drawn when it was recorded. The generators are put back.

    Raises:
        UnrecordableError: one of them has moved.
    """
    of_torch, of_python, of_numpy = torch.get_rng_state(), random.getstate(), np.random.get_state()
    yield
    moved = [
        name
        for name, has_moved in (
            ("torch's", not torch.equal(torch.get_rng_state(), of_torch)),
            ("Python's", random.getstate() != of_python),
            ("numpy's", str(np.random.get_state()) != str(of_numpy)),
        )
        if has_moved
    ]
    torch.set_rng_state(of_torch)
    random.setstate(of_python)
    np.random.set_state(of_numpy)
    if moved:
        raise UnrecordableError(
            f"precision: a pass that draws random numbers on the host ({', '.join(moved)}) cannot be recorded as CUDA "
            "graphs, which would repeat them",
            remedy="leave +graphed out, or draw on the images' device",
        )


@contextmanager
def unchanged(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Context manager: afterwards the buffers and the state of the device's generator are what they were."""
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    state = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
    broken = False
    try:
        yield
    except BrokenRecordingError:
        broken = True  # the generator cannot be set any more, which would hide the error
        raise
    finally:
        if not broken:
            _put_back(buffers, state, device)


def _put_back(buffers: Sequence[tuple[Tensor, Tensor]], state: Tensor, device: torch.device) -> None:
    with torch.no_grad():
        for buffer, value in buffers:
            buffer.copy_(value)
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
