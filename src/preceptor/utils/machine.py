"""What this machine has for training: cores, memory, graphics cards, disk. Imports nothing but the standard library."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

_CUDA = re.compile(r"^cuda\b.*=\s*'([0-9.]+)'", re.MULTILINE)
#: By which a user says how threads of OpenMP wait for each other.
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
#: By which a user says how the C library hands out memory.
_ALLOCATION = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "LD_PRELOAD")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_KEPT = 1 << 30  # bytes of a block, or free in all, up to which nothing is given back
_MOST_BEFORE = 32 << 20  # of a block, in glibc before 2.35
_CARD_SECONDS = 10  # after which a driver that does not answer is given up


def usable_cores() -> int:
    """CPU cores that this process may use, counting a container's limit; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def openmp_wait_settings() -> dict[str, str]:
    """Return what must stand in the environment before torch is loaded, so that its threads share the cores.

    A thread of OpenMP that waits for the others spins, and keeps them from the core if another program has theirs:
    beside one busy program, a step on two cores takes five times as long as with this (docs/results/speed.md). Where
    the user has set how threads wait, these are the user's settings.
    """
    return {name: os.environ[name] for name in _WAITING if os.environ.get(name)} or {"GOMP_SPINCOUNT": "10000"}


def keep_freed_memory() -> bool:
    """Have the C library keep the memory that a step frees for the next, which asks for as much again.

    glibc gives large blocks back to the system, and every step faults their pages in anew (docs/results/speed.md says
    what that costs). For processes of our own, since what they once held they hold until they end.

    Returns:
        Whether it is so: not where the user has set how memory is handed out, and not in other C libraries.
    """
    if any(name in os.environ for name in _ALLOCATION):
        return False
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    if not any(set_option(_M_MMAP_THRESHOLD, size) for size in (_KEPT, _MOST_BEFORE)):
        return False  # the other alone would fix the size from which blocks are given back at 128 KiB
    return bool(set_option(_M_TRIM_THRESHOLD, _KEPT))


def memory() -> tuple[int, int] | None:
    """Bytes in all and free; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    sizes = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")}
    return (sizes["MemTotal"], sizes["MemAvailable"]) if sizes.keys() >= {"MemTotal", "MemAvailable"} else None


def graphics_cards() -> list[str]:
    """NVIDIA cards as their driver names them, with memory and driver version; empty where there is no driver."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=_CARD_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def cuda_of_torch() -> str | None:
    """The CUDA version that the installed torch was built for; None for a build without CUDA, or without torch."""
    try:
        version = Path(str(metadata.distribution("torch").locate_file("torch/version.py")))
        match = _CUDA.search(version.read_text(encoding="utf-8"))
    except (metadata.PackageNotFoundError, OSError):
        return None
    return match[1] if match else None


def free_space(folder: Path) -> int:
    """Bytes that may still be written below a folder, which need not be there yet."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; files that vanish meanwhile count nothing."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total


def size_text(size: float) -> str:
    """A size for people.

    >>> size_text(3_400_000_000)
    '3.4 GB'
    """
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
