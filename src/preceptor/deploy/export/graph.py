"""The graph around the network in ``model.onnx``: any photo in, probabilities or a mask of the photo's size out."""

from __future__ import annotations

import onnx
from onnx import compose, helper, parser

from preceptor.deploy.export.networks import OPSET
from preceptor.deploy.manifest import Target
from preceptor.version import __version__

#: Of files that :func:`onnx.save` writes; ONNX Runtime 1.18 and later read it.
IR_VERSION = 10
# On 8-bit values Resize rounds after each direction, as Pillow does. Without ``exclude_outside`` pixels at
# the border would count more than once.
_BEFORE = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
before (uint8[batch, height, width, 3] images) => (float[batch, 3, {side}, {side}] image) {{
    channels_first = Transpose <perm = [0, 3, 1, 2]> (images)
    unchanged = Shape <start = 0, end = 2> (channels_first)
    square = Constant <value_ints = [{side}, {side}]> ()
    sizes = Concat <axis = 0> (unchanged, square)
    resized = Resize <
        mode = "linear", antialias = 1, exclude_outside = 1, coordinate_transformation_mode = "half_pixel"
    > (channels_first, , , sizes)
    grey_levels = Cast <to = 1> (resized)
    white = Constant <value_float = 255.0> ()
    image = Div (grey_levels, white)
}}
"""
_CLASSES = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
after (float[batch, {classes}] logits) => (float[batch, {classes}] probabilities) {{
    temperature = Constant <value_float = {temperature}> ()
    tempered = Div (logits, temperature)
    probabilities = Softmax <axis = 1> (tempered)
}}
"""
_LABELS = _CLASSES.replace("Softmax <axis = 1>", "Sigmoid")
_MASKS = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
after (uint8[batch, height, width, 3] images, float[batch, {classes}, {side}, {side}] logits)
    => (uint8[batch, height, width] mask, float[batch, {classes}, {side}, {side}] probabilities) {{
    unchanged = Shape <start = 0, end = 2> (logits)
    photo = Shape <start = 1, end = 3> (images)
    sizes = Concat <axis = 0> (unchanged, photo)
    enlarged = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (logits, , , sizes)
    index = ArgMax <axis = 1, keepdims = 0> (enlarged)
    mask = Cast <to = 2> (index)
    probabilities = Softmax <axis = 1> (logits)
}}
"""


_AFTER: dict[Target, str] = {"class": _CLASSES, "labels": _LABELS, "mask": _MASKS}


def model_graph(
    network: onnx.ModelProto, *, image_size: int, classes: int, target: Target, temperature: float = 1.0
) -> onnx.ModelProto:
    """Put preprocessing before a network's graph, and softmax, sigmoid or a mask behind it.

    Args:
        network: with the input ``image`` (B, 3, S, S), float in [0, 1], and the outputs ``logits`` and perhaps
            ``feature_map``.
        image_size: S; images are stretched to a square of this side.
        classes: C.
        target: what the logits are of: one class per image (softmax), several labels (sigmoid), or pixels.
        temperature: what logits are divided by before softmax or sigmoid; 1 for masks.

    Returns:
        A checked model. It takes ``images`` (B, H, W, 3), uint8 RGB of any size, and gives ``probabilities`` (B, C), or
        of U-Nets ``mask`` (B, H, W) uint8 class indices and ``probabilities`` (B, C, S, S); then the network's
        outputs.
    """
    text = _AFTER[target].format(
        ir=IR_VERSION, opset=OPSET, side=image_size, classes=classes, temperature=float(temperature)
    )
    before = _part(resize_graph(image_size), "before/")
    after = _part(parser.parse_model(text), "after/")
    inner = _part(network, "network/")
    outputs = [*after.graph.output, *inner.graph.output]
    nodes = [*before.graph.node, *inner.graph.node, *after.graph.node]
    graph = helper.make_graph(nodes, "preceptor", before.graph.input, outputs, inner.graph.initializer)
    whole = helper.make_model(
        graph,
        producer_name="preceptor",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=network.opset_import,
        functions=network.functions,
    )
    onnx.checker.check_model(whole, full_check=True)
    return whole


def resize_graph(image_size: int) -> onnx.ModelProto:
    """The first part of ``model.onnx``: ``images`` (B, H, W, 3) uint8 to ``image`` (B, 3, S, S), float in [0, 1]."""
    return parser.parse_model(_BEFORE.format(ir=IR_VERSION, opset=OPSET, side=image_size))


def _part(model: onnx.ModelProto, prefix: str) -> onnx.ModelProto:
    """A copy whose names cannot meet those of other parts; those of inputs and outputs stay."""
    return compose.add_prefix(model, prefix, rename_inputs=False, rename_outputs=False, inplace=False)
