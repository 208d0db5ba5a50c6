"""Measure an exported graph against the PyTorch network that it was made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from preceptor.data.images import resize
from preceptor.deploy.export.graph import resize_graph
from preceptor.deploy.manifest import Difference, Target
from preceptor.deploy.onnx_model import open_session
from preceptor.utils.errors import PreceptorError

#: Logits may differ by this much, for each unit of the largest logit: float32 sums in another order.
TOLERANCE = 1e-4
#: Grey levels between the graph's resized image and Pillow's. Both round to 8 bits after each direction, but Pillow
#: takes the direction first that costs less, and a tie may be rounded either way.
RESIZE_TOLERANCE = 2.0


@torch.no_grad()
def measure_difference(
    module: nn.Module,
    network: onnx.ModelProto,
    model: onnx.ModelProto,
    photos: Sequence[NDArray[np.uint8]],
    *,
    image_size: int,
    target: Target,
    temperature: float,
    description: str,
) -> Difference:
    """Run PyTorch and ONNX Runtime on the same images.

    Args:
        module: images (B, 3, S, S) in [0, 1] to ``(logits, …)``.
        network: the module's graph.
        model: the whole graph, from uint8 images on.
        photos: images (H, W, 3) of any size.
        image_size: S.
        target: what the network predicts.
        temperature: of the whole graph.
        description: of the photos.

    Raises:
        PreceptorError: the graphs do not compute what the network computes.
    """
    resizing, inner, whole = (
        open_session(graph.SerializeToString()) for graph in (resize_graph(image_size), network, model)
    )
    resized, logits, probabilities, same, largest = [], [], [], [], 1.0
    for photo in photos:
        square = resize(photo, image_size).transpose(2, 0, 1)[None]
        image = torch.from_numpy(np.ascontiguousarray(square)).float().div_(255)
        ours = module(image)[0]
        theirs = inner.run(["logits"], {"image": image.numpy()})[0]
        output = dict(
            zip([item.name for item in whole.get_outputs()], whole.run(None, {"images": photo[None]}), strict=True)
        )
        square_there = resizing.run(None, {"images": photo[None]})[0] * 255
        resized.append(np.abs(square_there - square))
        logits.append(float(np.abs(ours.numpy() - theirs).max()))
        tempered = ours.double() / temperature
        expected = (tempered.sigmoid() if target == "labels" else tempered.softmax(1)).numpy()
        probabilities.append(float(np.abs(output["probabilities"] - expected).max()))
        same.append(_same_prediction(ours, output, photo, target))
        largest = max(largest, float(ours.abs().max()))
    changes = np.concatenate([change.ravel() for change in resized])
    difference = Difference(
        images=description,
        count=len(photos),
        resize_max=round(float(changes.max()), 3),
        resize_changed=round(float((changes > 0.5).mean()), 6),
        logits_max=max(logits),
        probabilities_max=max(probabilities),
        same_prediction=float(np.mean(same)),
    )
    if difference.logits_max > TOLERANCE * largest or difference.resize_max > RESIZE_TOLERANCE:
        raise PreceptorError(
            f"the exported graph is not the network: logits differ by up to {difference.logits_max:.2g} and resized "
            f"images by up to {difference.resize_max:.0f} grey levels (on {description})",
            expected=f"at most {TOLERANCE * largest:.2g} and {RESIZE_TOLERANCE:.0f}",
            remedy="use the versions of torch, onnx and onnxruntime in constraints.txt",
        )
    return difference


def _same_prediction(
    logits: torch.Tensor, output: dict[str, NDArray[np.generic]], photo: NDArray[np.uint8], target: Target
) -> float:
    """1 or 0, or the share of the photo's pixels or labels, where both predict the same."""
    if target == "labels":
        return float(((logits > 0).numpy() == (output["probabilities"] > 0.5)).mean())  # type: ignore[operator]
    if target == "mask":
        whole = F.interpolate(logits, photo.shape[:2], mode="bilinear", align_corners=False).argmax(1).numpy()
        return float((whole == output["mask"]).mean())
    return float(logits.argmax(1).item() == output["probabilities"].argmax())
