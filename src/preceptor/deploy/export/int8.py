"""Choose an int8 model on the validation part, measure it once on the test part, and refuse one that loses too much."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray

from preceptor.deploy.export.subject import PartPixels, Subject, part_pixels
from preceptor.deploy.manifest import Calibration, LabelThreshold, Quantised
from preceptor.deploy.measure import measured
from preceptor.deploy.onnx_model import open_session
from preceptor.deploy.quantise import VARIANTS, prepare, quantise
from preceptor.deploy.rounding import input_moments
from preceptor.evaluation.calibration import softmax
from preceptor.evaluation.masks import MaskMeter
from preceptor.evaluation.resampling import Resampling, interval, resample
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError

CALIBRATION_IMAGES = 256
_BATCH = 32
_REPEATS = 50
_WARM_UP = 5


@dataclass(frozen=True)
class _Outcome:
    """A model on a part: predicted classes (N,), labels (N, L) or masks (N, S, S), its headline figure, rows."""

    predicted: NDArray[np.generic]
    value: float
    table: pd.DataFrame


def choose_int8(
    subject: Subject,
    network: onnx.ModelProto,
    complete: Callable[[onnx.ModelProto], onnx.ModelProto],
    calibration: Calibration,
    thresholds: Sequence[LabelThreshold],
    *,
    largest_loss: float,
    cache: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[onnx.ModelProto, onnx.ModelProto, Quantised]:
    """Quantise a network in several ways, choose one and measure it.

    The ways differ in how far they agree with the float model on the validation part; the one that agrees most is
    chosen. The test part is looked at once, with that one.

    Args:
        subject: the network, and the run whose data are used.
        network: its float graph.
        complete: puts preprocessing and softmax around a network's graph.
        calibration, thresholds: of the float model, by which labels are predicted.
        largest_loss: of the headline figure that is accepted, in its own unit.
        cache: where decoded images are kept.
        progress: told what is done next.

    Returns:
        The chosen network, the whole model around it, and the record, whose ``accepted`` says whether the loss is
        within ``largest_loss``.

    Raises:
        PreceptorError: the run's data are gone or changed, or it has no validation part.
    """
    parts = {part: part_pixels(subject, part, cache) for part in ("train", "validation", "test")}
    spread = np.linspace(0, len(parts["train"]) - 1, min(CALIBRATION_IMAGES, len(parts["train"]))).round().astype(int)
    measure = partial(_outcome, subject, calibration.temperature, [item.threshold for item in thresholds])
    reference = measure(network, parts["validation"])
    reached = {}
    graphs = _quantised(subject, network, parts["train"].images[spread], progress)
    for name in graphs:
        outcome = measure(graphs[name], parts["validation"])
        reached[name] = {"agreement": _agreement(reference, outcome), subject.headline: outcome.value}
    chosen = max(reached, key=lambda name: (reached[name]["agreement"], reached[name][subject.headline]))
    progress("measuring the int8 model on the test part")
    outcomes = [measure(graph, parts["test"]) for graph in (network, graphs[chosen])]
    low, high = _loss_interval(subject, outcomes, parts["test"].groups)
    whole = {"float": complete(network), "int8": complete(graphs[chosen])}
    in_float, in_int8 = (outcome.value for outcome in outcomes)
    loss = in_float - in_int8
    record = Quantised(
        accepted=loss <= largest_loss,
        variant=chosen,
        variants=reached,
        calibrated_on=len(spread),
        chosen_on="validation",
        metric=subject.headline,
        images=len(parts["test"]),
        float_value=in_float,
        int8_value=in_int8,
        loss=loss,
        loss_interval=(low, high),
        bound=largest_loss,
        agreement=_agreement(*outcomes),
        latency_ms=_latencies(whole, parts["test"].images[0]),
        threads=1,
        bytes={name: model.ByteSize() for name, model in whole.items()},
    )
    return graphs[chosen], whole["int8"], record


def _quantised(
    subject: Subject, network: onnx.ModelProto, images: NDArray[np.uint8], progress: Callable[[str], None]
) -> dict[str, onnx.ModelProto]:
    """The network quantised in every way, with ranges and moments measured on these images (N, 3, S, S)."""
    graphs = {}
    try:
        progress("measuring the inputs of all layers")
        prepared = prepare(network)
        moments = input_moments(prepared, images)
        for name, variant in VARIANTS.items():
            progress(f"quantising: {name}")
            graphs[name] = quantise(prepared, variant, images, moments)
    except Exception as error:  # ONNX Runtime's quantiser raises nearly anything on operators it does not know
        raise PreceptorError(
            f"ONNX Runtime cannot quantise this {subject.result.backbone}: {error}", remedy="export without --int8"
        ) from error
    return graphs


def _outcome(
    subject: Subject, temperature: float, thresholds: Sequence[float], network: onnx.ModelProto, part: PartPixels
) -> _Outcome:
    session = open_session(network.SerializeToString())
    batches = [
        session.run(["logits"], {"image": part.images[start : start + _BATCH].astype(np.float32) / 255})[0]
        for start in range(0, len(part), _BATCH)
    ]
    if subject.masks:
        predicted = np.concatenate([logits.argmax(1) for logits in batches])
        headline = TASKS[subject.run.recipe.task].metrics[subject.headline]
        meter = MaskMeter(subject.classes, {subject.headline: headline})
        for mask, target in zip(predicted, part.targets, strict=True):
            meter.update_arrays(mask, target)
        value = meter.result()[subject.headline]
        table = meter.rows(part.ids, part="", network=subject.name)
        return _Outcome(predicted, value, table.assign(group=part.groups))
    logits = np.concatenate(batches).astype(np.float64) / temperature
    probabilities = 1 / (1 + np.exp(-logits)) if subject.target == "labels" else softmax(logits)
    predicted = probabilities >= np.asarray(thresholds) if subject.target == "labels" else probabilities.argmax(1)
    figures, table = measured(
        subject.run.recipe.task, part.targets, probabilities, subject.classes, part.ids, part="", network=subject.name
    )
    return _Outcome(predicted, figures[subject.headline], table.assign(group=part.groups))


def _loss_interval(subject: Subject, outcomes: list[_Outcome], groups: list[str]) -> tuple[float, float]:
    """95 % interval of the first outcome's headline figure less the second's, from resamplings of whole groups."""
    resampling = Resampling(groups)
    task = TASKS[subject.run.recipe.task]
    metrics = {task.headline: task.metrics[task.headline]}
    first, second = (
        resample(metrics, [(task.metric_cases(outcome.table, subject.classes), outcome.table["group"])], resampling)
        for outcome in outcomes
    )
    bounds = interval(first[task.headline].samples - second[task.headline].samples)
    return bounds.low, bounds.high


def _agreement(reference: _Outcome, outcome: _Outcome) -> float:
    """The share of images, labels or pixels with the same prediction."""
    return float((reference.predicted == outcome.predicted).mean())


def _latencies(models: dict[str, onnx.ModelProto], image: NDArray[np.uint8]) -> dict[str, float]:
    """Median milliseconds of one image of the network's size on one thread, the models taking turns."""
    photo = np.ascontiguousarray(image.transpose(1, 2, 0)[None])
    sessions = {name: open_session(model.SerializeToString(), threads=1) for name, model in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(_WARM_UP + _REPEATS):
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(None, {"images": photo})
            if turn >= _WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    return {name: round(statistics.median(values) * 1000, 3) for name, values in seconds.items()}
