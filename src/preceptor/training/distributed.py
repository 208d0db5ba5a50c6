"""Processes and devices, set up with Lightning Fabric; and the global batch from the shards of processes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.accelerators import CUDAAccelerator
from lightning_fabric.strategies import DDPStrategy
from lightning_fabric.utilities import rank_zero
from torch import Tensor
from torch.distributed.nn.functional import all_gather
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException
from torch.nn import functional as F

from preceptor.training.process_warnings import forward_warnings, ignore_beside_first, shown_here
from preceptor.utils.errors import PreceptorError
from preceptor.utils.main_guard import GUARD


def warm_up() -> None:
    """Calls the vector routines of the math library once, on one element and one thread.

    Some builds of torch race in the first multi-threaded ``exp``, ``sqrt`` or ``tanh`` of a process (PyTorch issue
    188792), which makes a few runs in a hundred differ from the rest.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for routine in (torch.exp, torch.log, torch.sqrt, torch.tanh, torch.sin, torch.cos, torch.erf):
        routine(torch.ones(1))
        routine(torch.ones(1, dtype=torch.float64))
    torch.set_num_threads(threads)


@contextmanager
def repeatable(gpus: int) -> Iterator[None]:
    """On a GPU, algorithms that give the same bits each time, where torch has such; on a CPU nothing changes.

    torch warns of an operation that has none, and goes on: such a run repeats itself to rounding only. The environment
    variable stays set, and helps where the process has not used cuBLAS before.
    """
    if not gpus:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is loaded
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fills: Any = torch.utils.deterministic
    filled = fills.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    fills.fill_uninitialized_memory = False  # a kernel for each tensor that is written anyway
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        fills.fill_uninitialized_memory = filled


class _Cuda(CUDAAccelerator):
    """Fabric's, without its advice to multiply matrices in TensorFloat-32: ours are float32 unless a mode says bf16."""

    def setup_device(self, device: torch.device) -> None:
        log = rank_zero.rank_zero_module.log
        log.addFilter(_is_no_advice)
        try:
            super().setup_device(device)
        finally:
            log.removeFilter(_is_no_advice)


def _is_no_advice(record: logging.LogRecord) -> bool:
    return "set_float32_matmul_precision" not in record.getMessage()


def launch(function: Callable[..., Any], devices: int, *arguments: Any) -> Any:
    """Runs ``function(fabric, *arguments)`` in ``devices`` processes and returns what rank 0 returns.

    On a machine with GPUs each process takes one, otherwise processes share the CPU through gloo. Under ``torchrun``
    the processes are there already. Fabric's own precision stays float32: each network has a mode of its own
    (:mod:`preceptor.training.network_pass`).

    Raises:
        PreceptorError: more GPUs are asked for than there are, or a process ended without an error of its own, such as
            one that the system killed.
        Exception: whatever ``function`` raises in one of the processes, as that one raised it.
    """
    check_launched(devices)
    gpus = torch.cuda.device_count()
    if gpus and devices > gpus:
        raise PreceptorError(f"--devices {devices}: this machine has {gpus} GPU(s)", expected=f"at most {gpus}")
    launched = "LOCAL_RANK" in os.environ
    fabric = Fabric(
        accelerator=_Cuda() if gpus else "cpu",
        devices=devices,
        strategy=_strategy(launched) if devices > 1 or launched else "auto",
        precision="32-true",
    )
    if devices > 1 and not launched:
        entry: Callable[..., Any] = _in_process
        raised: Any = multiprocessing.get_context("spawn").SimpleQueue()
        logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # warns that it ends the others
        with shown_here() as send:
            try:
                return fabric.launch(entry, raised, send, function, _threads_each(devices), *arguments)
            except ProcessExitedException as error:
                raise _ended(error, devices) from None
            except ProcessRaisedException as error:
                raise _as_raised(raised, error)  # noqa: B904 - with a cause of its own
            except KeyboardInterrupt:
                for process in multiprocessing.active_children():  # which a signal to this process alone does not reach
                    process.terminate()
                raise
    warm_up()
    with repeatable(gpus):
        fabric.launch()
        ignore_beside_first(fabric.global_rank)
        return function(fabric, *arguments)


def check_launched(devices: int) -> None:
    """Refuse another number of processes than ``torchrun`` has started, which each batch would be shared by.

    Raises:
        PreceptorError: names both numbers.
    """
    launched = os.environ.get("WORLD_SIZE", "") if "LOCAL_RANK" in os.environ else ""
    if launched.isdecimal() and int(launched) != devices:
        raise PreceptorError(
            f"--devices {devices}: torchrun has started {launched} processes for this run",
            expected="one number of both",
            remedy=f"set --devices {launched}, or leave torchrun out: --devices alone starts processes on this machine",
        )


def _ended(error: ProcessExitedException, devices: int) -> PreceptorError:
    """What to say of a process that ended without an exception."""
    process = f"process {error.error_index} of {devices}"
    if error.signal_name is None:
        return PreceptorError(
            f"{process} ended at its start, for the reason that it printed", remedy=f"in a script, {GUARD}"
        )
    short = "; perhaps memory was short" if error.signal_name == "SIGKILL" else ""
    return PreceptorError(
        f"{process} was ended by the signal {error.signal_name}{short}",
        remedy="go on from the last finished epoch: preceptor resume RUN, or the same command of a study or a search",
    )


def _as_raised(raised: Any, error: ProcessRaisedException) -> Exception:
    """The exception of the process that failed, of which torch tells only the traceback.

    Once one has failed, others may fail for want of it: the first that is meant for users goes before them.
    """
    exceptions: list[Exception] = []
    while not raised.empty():
        exception, cause = raised.get()
        exception.__cause__ = cause or error  # with its traceback
        exceptions.append(exception)
    meant = [each for each in exceptions if isinstance(each, PreceptorError | OSError)]
    return next(iter([*meant, *exceptions]), error)


def _strategy(launched: bool) -> DDPStrategy:
    # Objectives come and go with their weights, so some parameters are unused in some epochs. Buffers are not
    # broadcast: batch-norm statistics are averaged after each epoch, banks are the same everywhere.
    return DDPStrategy(
        start_method="popen" if launched else "spawn", find_unused_parameters=True, broadcast_buffers=False
    )


def _threads_each(processes: int) -> int:
    return max(1, torch.get_num_threads() // processes)


def _in_process(
    fabric: Fabric, raised: Any, send: Connection, function: Callable[..., Any], threads: int, *arguments: Any
) -> Any:
    end_with_parent()
    forward_warnings(fabric.global_rank, send)
    torch.set_num_threads(threads)
    warm_up()
    try:
        with repeatable(torch.cuda.device_count()):
            return function(fabric, *arguments)
    except Exception as error:
        with suppress(Exception):  # one that cannot be sent is left to torch, which tells its traceback
            raised.put((error, error.__cause__))
        raise


def end_with_parent() -> None:
    """From now on this process ends as soon as its parent has gone, however that one ended.

    A parent that is killed cannot tell its children, and they would train on with nobody to stop them. Waiting for
    the parent's end works everywhere; a signal at its death would be Linux's alone, and SIGINT, which torch asks for,
    is ignored by whatever a shell started in the background.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(parent: int) -> None:
    wait([parent])
    os._exit(1)


def gather_rows(local: Tensor, sizes: list[int]) -> Tensor:
    """The rows of every process in the order of ranks, the same tensor everywhere.

    When every process computes the same loss of the result, the gradient that comes back is the sum over processes;
    DDP's mean over processes then makes it the gradient of that loss on one process.

    Args:
        local: (n_rank, …) this process's rows.
        sizes: rows of each rank; they may differ.
    """
    padded = F.pad(local, [0, 0] * (local.ndim - 1) + [0, max(sizes) - len(local)])
    if padded.requires_grad:
        parts = list(all_gather(padded))
    else:
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded.contiguous())
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def gather_views(local: Tensor, sizes: list[int]) -> Tensor:
    """As :func:`gather_rows` for V views of each image, one block of n rows per view: the blocks are those of all.

    Args:
        local: (V·n_rank, …).
    """
    mine = sizes[dist.get_rank()]
    views = len(local) // mine
    if views == 1:
        return gather_rows(local, sizes)
    whole = gather_rows(local.unflatten(0, (views, mine)).transpose(0, 1), sizes)
    return whole.transpose(0, 1).flatten(0, 1)
