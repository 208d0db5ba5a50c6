"""What an exported student costs and keeps, beside its teacher in PyTorch.

``python -m benchmarks.export RUN [--student student] [--teacher teacher] [--threads 2] [--markdown FILE]``

RUN is a finished run whose data can be read. TEACHER is another network of it, or the name of a timm backbone: that is
timed with random weights, beside the student's figures. The student is exported with ``--int8`` into a
temporary folder. Latencies are medians of one photo of the data from uint8 to the prediction, preprocessing included,
all models taking turns. An int8 model that loses too much is measured all the same; the last line says so. Differences
of the headline metric from the teacher's have 95 % intervals (paired bootstrap over groups).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from preceptor.data.images import read_image
from preceptor.data.split import parts_of
from preceptor.deploy.export.subject import load_subject
from preceptor.deploy.export.write import write_export
from preceptor.deploy.onnx_evaluate import evaluate_export
from preceptor.deploy.onnx_model import OnnxModel
from preceptor.deploy.torch_predictor import TorchPredictor
from preceptor.evaluation.resampling import Resampling, interval, resample
from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.kinds import Network
from preceptor.networks.pretrained import normalisation
from preceptor.runs.directory import Run
from preceptor.tasks import TASKS

WARM_UP, REPEATS = 5, 50
Predict = Callable[[Sequence[NDArray[np.uint8]]], object]
HEADER = "| model | size, MB | latency, ms | times faster | headline metric | less the first (95 % CI) |"


@dataclass(frozen=True)
class Line:
    """A model in the table: bytes of its weights or file, what predicts, and its test figure where it is trained."""

    name: str
    size: int
    predict: Predict
    value: float | None
    samples: NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--student", default="student")
    parser.add_argument("--teacher", default="teacher")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        text = table(options.run, options.student, options.teacher, options.threads, Path(folder) / "export")
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n", encoding="utf-8")


def table(path: Path, student: str, teacher: str, threads: int, folder: Path) -> str:
    """Measure, and return the table as Markdown."""
    # A bound that nothing exceeds: whether int8 would be accepted by the usual one is said in the table's last line.
    manifest = write_export(path, out=folder, network=student, int8=True, largest_loss=1.0)
    run = Run(path)
    catalog = run.catalog()
    rows = np.flatnonzero(parts_of(run.split, catalog.table["id"]) == "test")
    groups = catalog.table["group"].iloc[rows].tolist()
    resampling = Resampling(groups)
    lines = [
        _of_run(path, name, resampling) if name in run.metrics.networks else _untrained(run, name)
        for name in dict.fromkeys((teacher, student))
    ]
    for precision, file in (("float", "model.onnx"), ("int8", "model.int8.onnx")):
        model = OnnxModel(folder, precision, threads)  # type: ignore[arg-type]
        _, predictions = evaluate_export(model, catalog, rows, part="test")
        value, samples = _headline(run, predictions.assign(group=groups), resampling)
        lines.append(
            Line(f"{student}, ONNX {precision}", (folder / file).stat().st_size, model.predict, value, samples)
        )
    photo = read_image(catalog.path(int(rows[0])))
    seconds = _latencies([line.predict for line in lines], photo)
    first = next((line for line in lines if line.value is not None), lines[0])
    body = []
    for line, taken in zip(lines, seconds, strict=True):
        figure, difference = "" if line.value is None else f"{line.value:.3f}", ""
        if line.value is not None and first.value is not None and line is not first:
            bounds = interval(line.samples - first.samples)
            difference = f"{line.value - first.value:+.3f} ({bounds.low:+.3f} to {bounds.high:+.3f})"
        body.append(
            f"| {line.name} | {line.size / 1e6:.1f} | {taken * 1e3:.2f} | {seconds[0] / taken:.1f} | {figure} "
            f"| {difference} |"
        )
    record = manifest.quantised
    assert record is not None
    verdict = "within" if record.loss <= 0.005 else "beyond"
    note = (
        f"{len(rows)} test images, {threads} threads. int8 ({record.variant}): {100 * record.loss:.2f} points lost "
        f"against float, {verdict} the usual half point; {record.agreement:.1%} of images predicted alike."
    )
    return "\n".join([HEADER, "|---|---|---|---|---|---|", *body, "", note])


def _of_run(path: Path, name: str, resampling: Resampling) -> Line:
    subject = load_subject(path, name)
    network = next(iter(subject.networks.values()))
    value, samples = _headline(
        subject.run, subject.predictions("test").merge(subject.run.split[["id", "group"]], on="id"), resampling
    )
    return Line(f"{name}, PyTorch", _bytes(network), TorchPredictor(network).predict, value, samples)


def _untrained(run: Run, backbone: str) -> Line:
    """A backbone with random weights, the run's classes and image size."""
    mean, std = normalisation(backbone)
    network = Classifier(Architecture(backbone, tuple(run.metrics.classes), run.recipe.image_size, mean, std))
    return Line(f"{backbone}, PyTorch", _bytes(network), TorchPredictor(network).predict, None, np.empty(0))


def _bytes(network: Network) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())


def _headline(run: Run, predictions, resampling: Resampling) -> tuple[float, NDArray[np.float64]]:  # type: ignore[no-untyped-def]
    task = TASKS[run.recipe.task]
    cases = task.metric_cases(predictions, run.metrics.classes)
    sampled = resample({task.headline: task.metrics[task.headline]}, [(cases, predictions["group"])], resampling)
    return sampled[task.headline].value, sampled[task.headline].samples


def _latencies(
    models: Sequence[Callable[[Sequence[NDArray[np.uint8]]], object]], photo: NDArray[np.uint8]
) -> list[float]:
    """Median seconds of one photo, the models taking turns."""
    seconds: list[list[float]] = [[] for _ in models]
    for turn in range(WARM_UP + REPEATS):
        for predict, taken in zip(models, seconds, strict=True):
            start = time.perf_counter()
            predict([photo])
            if turn >= WARM_UP:
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in seconds]


if __name__ == "__main__":
    main()
