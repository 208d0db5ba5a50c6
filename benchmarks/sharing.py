"""A training step on all threads of a machine, alone and beside a busy program, by how long waiting threads spin.

``python -m benchmarks.sharing [--threads 2] [--beside 0 1] [--repeats 3]``

Forward, backward and Adam of MobileNetV2 (64 px, batch 32), the median over fresh processes that take turns. ``10000``
is what the command ``preceptor`` asks for, ``default`` is OpenMP's own, ``PASSIVE`` does not spin.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WAYS = {
    "default": {},
    "10000": {"GOMP_SPINCOUNT": "10000"},
    "PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
}
BUSY = "import torch; torch.set_num_threads(1); a = torch.randn(512, 512)\nwhile True: a @ a"
STEP = """
import sys, time
import timm, torch
torch.set_num_threads(int(sys.argv[1]))
network = timm.create_model("mobilenetv2_100", num_classes=7).to(memory_format=torch.channels_last)
images = torch.randn(32, 3, 64, 64).to(memory_format=torch.channels_last)
optimiser = torch.optim.Adam(network.parameters(), fused=True)
def step():
    optimiser.zero_grad()
    network(images).sum().backward()
    optimiser.step()
for _ in range(3):
    step()
began = time.perf_counter()
for _ in range(20):
    step()
print((time.perf_counter() - began) / 20)
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharing", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--beside", type=int, nargs="+", default=[0, 1], help="busy programs")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    for count in asked.beside:
        with busy(count):
            seconds: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(asked.repeats):
                for way, values in seconds.items():
                    values.append(step(WAYS[way], asked.threads))
        shown = ", ".join(f"{way} {statistics.median(values) * 1000:.0f} ms" for way, values in seconds.items())
        print(f"{asked.threads} threads beside {count} busy programs: {shown}")


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Let so many programs keep a core each."""
    programs = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        ended = [program.poll() for program in programs]
        for program in programs:
            program.kill()
            program.wait()
    assert ended == [None] * count, "a busy program ended by itself"


def step(way: dict[str, str], threads: int) -> float:
    """Return the seconds of a step in a fresh process."""
    rest = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", STEP, str(threads)]
    done = subprocess.run(
        command, env={**rest, "OMP_NUM_THREADS": str(threads), **way}, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


if __name__ == "__main__":
    main()
