"""Rounding by inputs: against the definition, against nearest integers, and the moments against PyTorch's patches."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch.nn import functional as F

from preceptor.deploy.rounding import input_moments, round_rows

#: Of each convolution: outputs, groups, kernel, stride, padding, dilation.
CONVOLUTIONS = ((6, 1, 3, 2, 1, 1), (6, 6, 3, 1, 1, 1), (4, 2, 1, 2, 0, 1), (4, 1, 3, 1, 2, 2))


def moments_of(inputs: np.ndarray) -> np.ndarray:
    return inputs.T @ inputs / len(inputs)


def literal(row: np.ndarray, moment: np.ndarray, scale: float, limit: int) -> np.ndarray:
    """Round in the order of the moments; before each, the weights left are those of the least squared error."""
    order = np.argsort(-np.diag(moment), kind="stable")
    damped = moment + np.eye(len(moment)) * 0.01 * np.diag(moment).mean()
    rounded = np.zeros(len(row))
    for place, column in enumerate(order):
        done, free = order[:place], order[place:]
        missed = rounded[done] * scale - row[done]
        best = row[free] - np.linalg.solve(damped[np.ix_(free, free)], damped[np.ix_(free, done)] @ missed)
        rounded[column] = np.clip(np.round(best[0] / scale), -limit, limit)
    return rounded


@pytest.mark.parametrize("seed", range(3))
def test_rounding_is_that_of_its_definition(seed: int) -> None:
    draw = np.random.default_rng(seed)
    moment = moments_of(draw.normal(size=(40, 9)) + 2)
    rows, scales = draw.normal(size=(5, 9)), draw.uniform(0.02, 0.1, 5)
    expected = [literal(row, moment, scale, 64) for row, scale in zip(rows, scales, strict=True)]
    np.testing.assert_array_equal(round_rows(rows, moment, scales, 64), expected)


def test_outputs_are_nearer_than_with_nearest_integers() -> None:
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(500, 9)) * 0.1 + draw.normal(size=(500, 1))  # pixels that are nearly equal
    rows = draw.normal(size=(20, 9))
    scales = np.abs(rows).max(1) / 64
    ours = round_rows(rows, moments_of(inputs), scales, 64) * scales[:, None]
    nearest = np.round(rows / scales[:, None]) * scales[:, None]
    errors = [np.square((rounded - rows) @ inputs.T).mean() for rounded in (ours, nearest)]
    assert errors[0] < errors[1] / 3
    assert np.abs(ours / scales[:, None]).max() <= 64


@pytest.mark.parametrize("layer", CONVOLUTIONS)
def test_moments_are_those_of_pytorchs_patches(layer: tuple[int, ...]) -> None:
    outputs, groups, kernel, stride, padding, dilation = layer
    weight = np.random.default_rng(0).normal(size=(outputs, 6 // groups, kernel, kernel)).astype(np.float32)
    first = np.random.default_rng(1).normal(size=(6, 3, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["middle"], kernel_shape=[1, 1]),
        helper.make_node(
            "Conv", ["middle", "weight"], ["logits"], group=groups, kernel_shape=[kernel] * 2, strides=[stride] * 2,
            pads=[padding] * 4, dilations=[dilation] * 2,
        ),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "two convolutions",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(first, "first"), numpy_helper.from_array(weight, "weight")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    images = np.random.default_rng(2).integers(0, 256, (11, 3, 8, 8), dtype=np.uint8)
    moments = input_moments(model, images)
    middle = F.conv2d(torch.from_numpy(images).float() / 255, torch.from_numpy(first))
    for group, channels in enumerate(middle.chunk(groups, dim=1)):
        patches = F.unfold(channels, kernel, dilation=dilation, padding=padding, stride=stride)
        flat = patches.transpose(1, 2).reshape(-1, patches.shape[1]).double().numpy()
        np.testing.assert_allclose(moments["weight"][group], moments_of(flat), rtol=1e-5, atol=1e-7)
