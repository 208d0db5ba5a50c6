"""How long the bootstrap of one run report takes: every interval of its tables and sections, without figures.

``python -m benchmarks.report [--images 10015] [--networks 10] [--json FILE]``

The predictions are made up: seven classes as frequent as those of HAM10000, about 1.34 images per lesion, a validation
part of a tenth of the images, and the attributes sex, age and site. Nothing is trained. ``seconds`` are of the wall
clock, ``cpu_seconds`` of the process; on a machine that does other work the second is the fairer number.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from preceptor.evaluation.predictions import prediction_rows
from preceptor.recipes.resolve import resolve
from preceptor.report.calibration import calibration_rows
from preceptor.report.entries import Entry, LabelledRun, entries_of
from preceptor.report.network_predictions import predictions_of
from preceptor.report.operating_points import point_rows
from preceptor.report.subgroups import attribute_sections
from preceptor.report.tables import intervals
from preceptor.report.uncertainty import selective_rows, sets_rows
from preceptor.runs.directory import Run
from preceptor.runs.schema import DataRecord, Environment, Metrics, NetworkResult

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SHARES = (0.033, 0.051, 0.110, 0.011, 0.111, 0.670, 0.014)
IMAGES_A_LESION = 1.34


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_015, help="of the test part")
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    result = measure(asked.images, asked.networks)
    for name, (seconds, cpu) in result.items():
        print(f"{name}: {seconds:.1f} s ({cpu:.1f} s of CPU)")
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=2) + "\n")


def measure(images: int, networks: int) -> dict[str, tuple[float, float]]:
    """Return wall-clock and CPU seconds of each part of the bootstrap, and of all."""
    entries = synthetic_entries(images, networks)
    result: dict[str, tuple[float, float]] = {}

    def timed(name: str, work: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        value = work()
        result[name] = (time.perf_counter() - wall, time.process_time() - cpu)
        return value

    timed("headline", lambda: intervals(entries))
    made = timed("resamplings", lambda: predictions_of(entries))
    for name, rows in (
        ("operating points", lambda: [point_rows(made, [index]) for index in range(len(CLASSES))]),
        ("calibration", lambda: calibration_rows(made)),
        ("selective prediction", lambda: selective_rows(made)),
        ("conformal sets", lambda: sets_rows(made)),
        ("subgroups", lambda: attribute_sections(made)),
    ):
        timed(name, rows)
    result["all"] = (sum(wall for wall, _ in result.values()), sum(cpu for _, cpu in result.values()))
    return result


def synthetic_entries(images: int, networks: int) -> list[Entry]:
    """Return networks of one made-up run, the first of them the teacher of the others."""
    draw = np.random.default_rng(0)
    split = _split(draw, images)
    names = ["teacher", *(f"student_{index}" for index in range(1, networks))]
    frames = []
    for place, name in enumerate(names):
        for part in ("validation", "test"):
            rows = split[split["part"] == part]
            targets = rows["label"].map(CLASSES.index).to_numpy()
            logits = draw.normal(size=(len(rows), len(CLASSES))) + (2.5 - 0.1 * place) * np.eye(len(CLASSES))[targets]
            scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            frames.append(prediction_rows(list(rows["id"]), targets, scores, CLASSES, part=part, network=name))
    result = {name: NetworkResult(role="trained", backbone="none", test={"balanced_accuracy": 0.0}) for name in names}
    result["teacher"].role = "frozen teacher"
    metrics = Metrics(
        format=2, task="classification", protocol="grouped", classes=list(CLASSES), epochs=1, epochs_run=1,
        training_seconds=0, networks=result,
    )  # fmt: skip
    data = DataRecord(name="ham10000", fingerprint="", fold=0, folds=5, images=len(split), classes=list(CLASSES))
    environment = Environment(threads=1, processes=1, seed=0, data=data, split_hash="synthetic")
    predictions = pd.concat(frames, ignore_index=True)
    of: dict[str, Any] = {"metrics": metrics, "environment": environment, "split": split, "predictions": predictions}
    of["recipe"] = resolve("student")
    return entries_of([LabelledRun.of(Run(Path("synthetic")), "synthetic", **of)])


def _split(draw: np.random.Generator, test: int) -> pd.DataFrame:
    images = test + test // 10
    lesions = round(images / IMAGES_A_LESION)
    lesion = np.sort(draw.integers(0, lesions, images))
    return pd.DataFrame(
        {
            "id": [f"image_{index}" for index in range(images)],
            "group": [f"lesion_{index}" for index in lesion],
            "part": np.where(np.arange(images) < test, "test", "validation"),
            "label": draw.choice(CLASSES, lesions, p=np.array(SHARES) / sum(SHARES))[lesion],
            "sex": draw.choice(["female", "male"], lesions)[lesion],
            "age": draw.integers(5, 86, lesions)[lesion].astype(str),
            "site": draw.choice(["back", "face", "foot", "hand", "trunk"], lesions)[lesion],
        }
    )


if __name__ == "__main__":
    main()
