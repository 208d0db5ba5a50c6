"""Grad-CAM without a gradient, for heads that are linear in the mean of the last feature map.

B. Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016: where y_c = Σₖ w_ck·mean(Aₖ) + b_c,
the gradient of y_c by any place of Aₖ is w_ck divided by the number of places, so that Grad-CAM's weights are known in
advance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from preceptor.deploy.manifest import ActivationMap
from preceptor.evaluation.grad_cam import grad_cam
from preceptor.evaluation.map_size import in_cells, shows_places
from preceptor.networks.classifier import Classifier
from preceptor.utils.errors import PreceptorError

#: Of the maps, which lie in [0, 1].
TOLERANCE = 1e-5


def activation_weights(network: Classifier, images: Tensor) -> tuple[ActivationMap | None, str]:
    """Weights that make a class activation map of the feature map, where the network's head allows it.

    Whether it does is measured, not looked up: the maps of all classes on some images must equal Grad-CAM's.

    Args:
        network: in evaluation mode.
        images: (B, 3, S, S) in [0, 1], two or more.

    Returns:
        The weights and an empty string, or None and the reason.
    """
    try:
        weights = _weights(network, images)
    except PreceptorError as error:
        return None, error.what
    with torch.no_grad():
        feature_map = network(images).feature_map
    height, width = feature_map.shape[2:]
    if not shows_places(height, width):
        side = network.architecture.image_size
        return None, f"the last feature map has {in_cells(height, width)} at {side} px: too few to show a place"
    difference = 0.0
    for index in range(len(network.architecture.classes)):
        classes = torch.full((len(images),), index)
        difference = max(
            difference, float((class_map(feature_map, weights[index]) - grad_cam(network, images, classes)).abs().max())
        )
    if difference > TOLERANCE:
        return None, (
            f"the logits of this {network.architecture.backbone} are not linear in the mean of its feature map "
            f"(maps differ from Grad-CAM by up to {difference:.2g})"
        )
    # Seven digits are all that a float32 has.
    rows = [[float(f"{value:.7g}") for value in row] for row in weights.tolist()]
    return ActivationMap(weights=rows, difference=difference), ""


def class_map(feature_map: Tensor, weights: Tensor) -> Tensor:
    """ReLU(Σₖ wₖ·Aₖ) (B, h, w) divided by its maximum, of feature maps (B, K, h, w) and one class's weights (K,)."""
    maps = torch.einsum("bkhw,k->bhw", feature_map, weights).relu()
    most = maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(most > 0, maps / most.clamp_min(torch.finfo(maps.dtype).tiny), 0.0)


@torch.enable_grad()
def _weights(network: Classifier, images: Tensor) -> Tensor:
    """Slopes (C, K) of the logits by the mean of the feature map, on the first image."""
    output = network(images[:1].clone().requires_grad_())
    rows = []
    for index in range(output.logits.shape[1]):
        (slope,) = torch.autograd.grad(
            output.logits[0, index], output.feature_map, retain_graph=True, allow_unused=True
        )
        if slope is None:
            raise PreceptorError("the logits of this network do not come from its feature map")
        rows.append(slope[0].sum(dim=(1, 2)))
    return torch.stack(rows)
