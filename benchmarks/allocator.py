"""A training step's CPU time, and the process's peak memory, with freed memory kept and as the C library has it.

``python -m benchmarks.allocator --recipe kd --image-size 96 --batch 32 [--threads 1] [--repeats 5] [key=value …]``

The engine's own steps (:mod:`benchmarks.step`) in fresh processes that take turns. Of each kind it prints the median
over processes of the least and of the median step, and of the peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

STEPS = """
import json, resource, sys, tempfile
from pathlib import Path
from preceptor.utils.machine import keep_freed_memory
keep, threads, recipe, size, batch, steps, *overrides = sys.argv[1:]
if keep == "kept":
    assert keep_freed_memory(), "this C library cannot be told"
import torch
from benchmarks.measure import timed
from benchmarks.step import engine_step, prepared_training
from preceptor.recipes.resolve import resolve
torch.set_num_threads(int(threads))
with tempfile.TemporaryDirectory() as folder:
    resolved = resolve(recipe, [f"image_size={size}", f"batch_size={batch}", *overrides])
    step = engine_step(prepared_training(resolved, Path(folder), images=max(int(batch) * 8, 600)))
    times = [timed(step) for _ in range(int(steps) + 3)][3:]
print(json.dumps({"seconds": times, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.allocator", description=__doc__)
    parser.add_argument("--recipe", default="kd")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5, help="processes of each kind")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    asked = parser.parse_args()
    numbers = [asked.threads, asked.recipe, asked.image_size, asked.batch, asked.steps]
    arguments = [*map(str, numbers), *asked.overrides]
    measured: dict[str, list[dict[str, float]]] = {"default": [], "kept": []}
    for _ in range(asked.repeats):
        for kind, processes in measured.items():
            processes.append(process(kind, arguments, asked.threads))
    for kind, processes in measured.items():
        least, median, peak = (
            statistics.median(each[key] for each in processes) for key in ("least", "median", "peak")
        )
        print(f"{kind}: least step {least:.3f} s, median {median:.3f} s of CPU, peak {peak:.0f} MiB")


def process(kind: str, arguments: list[str], threads: int) -> dict[str, float]:
    """The least and the median step of a fresh process, in seconds, and its peak memory in MiB."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": "10000"}
    command = [sys.executable, "-c", STEPS, kind, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    times = result["seconds"]
    return {"least": min(times), "median": statistics.median(times), "peak": result["peak"]}


if __name__ == "__main__":
    main()
