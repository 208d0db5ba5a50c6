"""8-bit integer models: weights and activations quantised with ranges measured on training images.

Static quantisation in ONNX's QDQ form, weights per output channel. How weights are rounded and how the ranges of
activations are taken decides whether it works, so several ways are tried and one is chosen on images that are neither
for training nor for testing.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import quantization as ort
from onnxruntime.quantization.shape_inference import quant_pre_process

from preceptor.deploy.rounding import round_by_inputs

_BATCH = 8


@dataclass(frozen=True)
class Variant:
    """A way to quantise.

    Attributes:
        method: how the range of an activation follows from its values.
        extra: options of ONNX Runtime's quantiser.
        by_inputs: whether weights are rounded by the inputs that they meet (:mod:`preceptor.deploy.rounding`), or each
            to its nearest integer.
        float_convolutions: how many of the first convolutions stay in float, and the last layer with them; with 0 none
            does. The first depthwise convolutions have channels of very different ranges.
    """

    method: ort.CalibrationMethod
    extra: Mapping[str, Any] = field(default_factory=dict)
    by_inputs: bool = True
    float_convolutions: int = 0


_MOVING_AVERAGE = {"CalibMovingAverage": True}
VARIANTS: dict[str, Variant] = {
    "nearest integers": Variant(ort.CalibrationMethod.MinMax, _MOVING_AVERAGE, by_inputs=False),
    "rounded by inputs": Variant(ort.CalibrationMethod.MinMax, _MOVING_AVERAGE),
    "rounded by inputs, widest ranges": Variant(ort.CalibrationMethod.MinMax),
    "rounded by inputs, first 4 convolutions in float": Variant(
        ort.CalibrationMethod.MinMax, _MOVING_AVERAGE, float_convolutions=4
    ),
    "rounded by inputs, first 8 convolutions in float": Variant(
        ort.CalibrationMethod.MinMax, _MOVING_AVERAGE, float_convolutions=8
    ),
}


def prepare(network: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with batch norms folded into convolutions and constants computed."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        given, prepared = (Path(folder) / f"{name}.onnx" for name in ("given", "prepared"))
        onnx.save(network, given)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        return onnx.load(prepared)


def quantise(
    prepared: onnx.ModelProto, variant: Variant, images: NDArray[np.uint8], moments: Mapping[str, NDArray[np.float64]]
) -> onnx.ModelProto:
    """Quantise a network's graph.

    Weights get 7 of their 8 bits: processors without dot-product instructions add two products in 16 bits, which full
    8 bits overflow, so that a model that is right here would be wrong there.

    Args:
        prepared: what :func:`prepare` returned.
        variant: how.
        images: (N, 3, S, S) uint8, of the training part, which the ranges of activations are measured on.
        moments: of the inputs of ``prepared`` on these images (:func:`preceptor.deploy.rounding.input_moments`).

    Returns:
        A graph with the same input and outputs.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        given, quantised = (Path(folder) / f"{name}.onnx" for name in ("given", "quantised"))
        onnx.save(prepared, given)
        ort.quantize_static(
            given,
            quantised,
            _Images(images),
            quant_format=ort.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=ort.QuantType.QUInt8,
            weight_type=ort.QuantType.QInt8,
            nodes_to_exclude=_in_float(prepared, variant.float_convolutions),
            calibrate_method=variant.method,
            extra_options={"CalibStridedMinMax": 1, **variant.extra},  # one batch in memory at a time
        )
        model = onnx.load(quantised)
    del model.metadata_props[:]
    return round_by_inputs(model, prepared, moments) if variant.by_inputs else model


class _Images(ort.CalibrationDataReader):
    """Batches of images in [0, 1]; a range of batches can be asked for."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images = images
        self._batches: Iterator[NDArray[np.uint8]] = iter(())
        self.set_range(0, len(self))

    def __len__(self) -> int:
        return -(-len(self.images) // _BATCH)

    def set_range(self, start_index: int, end_index: int) -> None:
        starts = range(start_index * _BATCH, min(end_index * _BATCH, len(self.images)), _BATCH)
        self._batches = (self.images[start : start + _BATCH] for start in starts)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:  # type: ignore[override]
        batch = next(self._batches, None)
        return None if batch is None else {"image": np.asarray(batch / np.float32(255), dtype=np.float32)}


def _in_float(model: onnx.ModelProto, convolutions: int) -> list[str]:
    """The names of the first convolutions, their activations and, if there are any, the last layer with weights."""
    weighted = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    first = [node for node in weighted if node.op_type == "Conv"][:convolutions]
    outputs = {node.output[0] for node in first}
    # An activation whose input is not quantised would otherwise be dropped for the range of its output.
    activations = [node for node in model.graph.node if node.op_type in ("Clip", "Relu") and node.input[0] in outputs]
    return [node.name for node in (*first, *activations, *(weighted[-1:] if first else []))]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's hints on the root logger and on standard output."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
