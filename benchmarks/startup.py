"""CPU seconds that ``preceptor train`` takes before its first backward pass, beside the import of the libraries alone.

``python -m benchmarks.startup [--repeats 5]``

Every figure is the least of several fresh processes, which take turns. Torchmetrics, which Fabric imports where it is
installed, is left out of both: a user does not have it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from preceptor.data.phantom import Phantom, write_phantom

BEFORE = "import os, sys; sys.modules['torchmetrics'] = None"
LIBRARIES = "import torch, torch._dynamo, timm, lightning_fabric, pandas"
#: What is run instead of the first backward pass.
PRINTED = "print(sum(os.times()[:2]), flush=True); os._exit(0)"
TRAIN = f"""
import torch
def stop(*_, **__):
    {PRINTED}
torch.Tensor.backward = stop
from preceptor.cli import main
main()
"""
RECIPE = ["kd", "image_size=32", "batch_size=32", "epochs=1"]
SMALL = ("backbone=test_resnet", "pretrained=none")
NETWORKS = [f"networks.{name}.{setting}" for name in ("student", "teacher") for setting in SMALL]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["train", *RECIPE, *NETWORKS, "--data", "phantom", "--root", f"{folder}/phantom"]
        arguments += ["--cache", f"{folder}/cache"]
        write_phantom(Path(folder) / "phantom", Phantom(images=300, size=32))
        alone, train = [], []
        for turn in range(repeats):
            alone.append(_seconds(f"{LIBRARIES}; {PRINTED}", []))
            train.append(_seconds(TRAIN, [*arguments, "--out", f"{folder}/run{turn}"]))
    figures = f"libraries alone {min(alone):.1f} s, train to its first backward pass {min(train):.1f} s"
    print(f"{figures} (CPU, least of {repeats})")


def _seconds(code: str, arguments: list[str]) -> float:
    paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": paths}
    command = [sys.executable, "-c", f"{BEFORE}\n{code}", *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    return float(printed.split()[-1])


if __name__ == "__main__":
    main()
