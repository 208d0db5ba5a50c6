"""What a study costs beside its runs, and what a second worker saves.

``python -m benchmarks.study [--cells 4] [--epochs 8] [--image-size 48] [--json FILE]``

The same small runs (the recipe ``student`` with a test backbone on the phantom, one seed each, one thread each) are
made three times: by one ``preceptor train`` after another, by ``preceptor study`` with one worker, and with two. All
are commands in processes of their own, imports and reports included, on decoded images. ``overhead`` is the study with
one worker over the commands, less 1 (negative: workers load the libraries once); ``speedup`` is one worker over two.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from preceptor.data.cache import open_pixels
from preceptor.data.phantom import Phantom, write_phantom
from preceptor.runs.create import Data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=48)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    result = measure(asked.cells, asked.epochs, asked.image_size, asked.images)
    print(
        f"{asked.cells} cells: train {result['train_seconds']:.1f} s, study with one worker "
        f"{result['one_worker_seconds']:.1f} s (overhead {result['overhead']:.1%}), with two "
        f"{result['two_workers_seconds']:.1f} s (speedup {result['speedup']:.2f})"
    )
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(cells: int, epochs: int, image_size: int, images: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"PRECEPTOR_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        write_phantom(folder / "data", Phantom(images=images, size=image_size))
        open_pixels(Data("phantom", folder / "data").catalog(), image_size)
        settings = {"image_size": image_size, "epochs": epochs, "backbone": "test_resnet", "pretrained": "none"}
        (folder / "plan.yaml").write_text(yaml.safe_dump(_plan(settings, cells)))
        root = ["--root", folder / "data"]
        words = [f"{key}={value}" for key, value in settings.items()]
        alone = sum(
            _timed("train", "student", "--data", "phantom", *root, "--seed", seed, "--out", folder / str(seed), *words)
            for seed in range(cells)
        )
        one, two = (
            _timed("study", folder / "plan.yaml", *root, "--workers", workers, "--out", folder / f"by-{workers}")
            for workers in (1, 2)
        )
    return {
        "cells": cells,
        "epochs": epochs,
        "image_size": image_size,
        "train_seconds": alone,
        "one_worker_seconds": one,
        "two_workers_seconds": two,
        "overhead": one / alone - 1,
        "speedup": one / two,
    }


def _plan(settings: dict[str, Any], cells: int) -> dict[str, Any]:
    return {
        "name": "benchmark",
        "data": {"reader": "phantom"},
        "folds": [0],
        "seeds": list(range(cells)),
        "threads": 1,
        "rows": [{"name": "student", "recipe": "student", "set": settings}],
        "baseline": "student",
        "layout": {"columns": {"balanced_accuracy": "BMA"}},
    }


def _timed(*words: object) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "preceptor", *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
