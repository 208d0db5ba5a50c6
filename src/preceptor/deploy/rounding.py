"""Round the weights of an 8-bit model by the inputs that they meet, and not each to its nearest integer.

A depthwise kernel is nine weights on nearly equal pixels: what counts is their sum, and nine roundings to the nearest
integer may miss it by far. E. Frantar et al., "GPTQ", ICLR 2023 (section 3): weights are rounded one after another, and
what each misses is made up by those not yet rounded, so that E|(ŵ − w)·x|² over a layer's inputs x stays small. The
second moments E[x xᵀ] of the inputs on some training images are all that this needs. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Floats = NDArray[np.float64]
_BATCH = 8
#: Layers with more inputs to an output are rounded to the nearest integer: their many errors even out.
MOST_INPUTS = 1152
_DAMPING = 0.01  # of the mean second moment, added to all of them, so that the inverse exists


def input_moments(model: onnx.ModelProto, images: NDArray[np.uint8]) -> dict[str, Floats]:
    """Second moments of what each output of a layer is computed from.

    Args:
        model: with the input ``image`` (B, 3, S, S), float in [0, 1], batch norms folded.
        images: (N, 3, S, S) uint8.

    Returns:
        The name of a layer's weights → (groups, K, K), with K inputs to an output; layers of more than
        :data:`MOST_INPUTS` are left out.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    layers = [node for node in _layers(model, weights) if _rows(node, _array(weights, node)).shape[2] <= MOST_INPUTS]
    names = list(dict.fromkeys(node.input[0] for node in layers))
    session = _session_with(model, names)
    moments: dict[str, Floats] = {}
    positions: dict[str, int] = {}
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH].astype(np.float32) / 255
        inputs = dict(zip(names, session.run(names, {"image": batch}), strict=True))
        for node in layers:
            key = node.input[1]
            patches = _patches(node, inputs[node.input[0]], _array(weights, node).shape)
            moments[key] = moments.get(key, 0) + np.matmul(patches.transpose(0, 2, 1), patches).astype(np.float64)
            positions[key] = positions.get(key, 0) + patches.shape[1]
    return {key: total / positions[key] for key, total in moments.items()}


def round_by_inputs(
    quantised: onnx.ModelProto, model: onnx.ModelProto, moments: Mapping[str, Floats]
) -> onnx.ModelProto:
    """Round the 8-bit weights of a model again; scales and all else stay.

    Args:
        quantised: in ONNX Runtime's QDQ form, with symmetric weights, made of ``model``.
        model: the float model.
        moments: what :func:`input_moments` returned.

    Returns:
        A copy whose weights are on the same grid.
    """
    result = onnx.ModelProto()
    result.CopyFrom(quantised)
    integers = {tensor.name: tensor for tensor in result.graph.initializer}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in _layers(model, weights):
        key = node.input[1]
        stored = integers.get(f"{key}_quantized")
        if stored is None or key not in moments:
            continue
        before = numpy_helper.to_array(stored)
        rows = _rows(node, _array(weights, node).astype(np.float64))
        scales = numpy_helper.to_array(integers[f"{key}_scale"]).astype(np.float64)
        scales = np.broadcast_to(scales.reshape(-1), rows.shape[:2] if scales.size == 1 else rows[..., 0].size)
        limit = int(np.abs(before.astype(int)).max())  # 64 where one bit is kept free
        rounded = np.stack(
            [
                round_rows(own, moment, scale, limit)
                for own, moment, scale in zip(rows, moments[key], scales.reshape(rows.shape[:2]), strict=True)
            ]
        )
        shaped = _from_rows(node, rounded, before.shape).astype(before.dtype)
        stored.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(shaped), stored.name))
    return result


def round_rows(rows: Floats, moment: Floats, scales: Floats, limit: int) -> Floats:
    """Round the rows of a matrix to integers in units of their scales, by the second moments of what they multiply.

    Args:
        rows: (R, K) weights.
        moment: (K, K) E[x xᵀ], symmetric.
        scales: (R,).
        limit: the largest integer.

    Returns:
        (R, K) integers as float64.

    >>> import numpy as np
    >>> same = np.ones((2, 2))  # both inputs are always equal: the sum of the weights counts
    >>> round_rows(np.array([[0.4, 0.4]]), same, np.ones(1), 127).sum()
    np.float64(1.0)
    """
    order = np.argsort(-np.diag(moment), kind="stable")
    damped = moment[np.ix_(order, order)] + np.eye(len(moment)) * max(_DAMPING * np.diag(moment).mean(), 1e-12)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    left, integers = rows[:, order].copy(), np.zeros_like(rows)
    for column in range(rows.shape[1]):
        chosen = np.clip(np.round(left[:, column] / scales), -limit, limit)
        missed = (left[:, column] - chosen * scales) / upper[column, column]
        left[:, column:] -= np.outer(missed, upper[column, column:])
        integers[:, order[column]] = chosen
    return integers


def _layers(model: onnx.ModelProto, weights: Mapping[str, onnx.TensorProto]) -> Iterator[onnx.NodeProto]:
    """Convolutions and linear layers with stored weights."""
    for node in model.graph.node:
        explicit = _attributes(node).get("auto_pad", b"NOTSET") == b"NOTSET"
        if node.op_type in ("Conv", "Gemm") and node.input[1] in weights and explicit:
            yield node


def _array(weights: Mapping[str, onnx.TensorProto], node: onnx.NodeProto) -> NDArray[np.float32]:
    return numpy_helper.to_array(weights[node.input[1]])


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _rows(node: onnx.NodeProto, weight: NDArray[np.floating]) -> NDArray[np.floating]:
    """Weights as (groups, outputs of a group, inputs to an output)."""
    if node.op_type == "Gemm":
        return (weight if _attributes(node).get("transB") else weight.T)[None]
    groups = int(_attributes(node).get("group", 1))  # type: ignore[call-overload]
    return weight.reshape(groups, len(weight) // groups, -1)


def _from_rows(node: onnx.NodeProto, rows: Floats, shape: tuple[int, ...]) -> Floats:
    if node.op_type == "Gemm":
        return rows[0] if _attributes(node).get("transB") else rows[0].T
    return rows.reshape(shape)


def _patches(node: onnx.NodeProto, inputs: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """What a layer multiplies its weights with: (groups, images and places, inputs to an output)."""
    if node.op_type == "Gemm":
        return inputs[None]
    settings: dict[str, list[int]] = _attributes(node)  # type: ignore[assignment]
    top, left, bottom, right = settings.get("pads", [0] * 4)
    (down, across), (row_step, column_step) = settings.get("strides", [1, 1]), settings.get("dilations", [1, 1])
    reach = ((shape[2] - 1) * row_step + 1, (shape[3] - 1) * column_step + 1)
    padded = np.pad(inputs, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))  # type: ignore[call-overload]
    windows = windows[:, :, ::down, ::across, ::row_step, ::column_step]
    batch, channels, height, width = windows.shape[:4]
    groups = channels // shape[1]
    grouped = windows.reshape(batch, groups, shape[1], height, width, -1)
    return grouped.transpose(1, 0, 3, 4, 2, 5).reshape(groups, batch * height * width, -1)


def _session_with(model: onnx.ModelProto, names: list[str]) -> onnxruntime.InferenceSession:
    """A session that also gives tensors from inside the graph."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    given = {output.name for output in opened.graph.output}
    opened.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in given
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # which would fuse them away
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(opened.SerializeToString(), options, providers=["CPUExecutionProvider"])
