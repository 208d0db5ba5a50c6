"""Which cells of the last feature map spoke for a class.

R. R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
eqs. (1) and (2). The feature map is the one that every network here returns, so no hook is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from preceptor.networks.modes import evaluating
from preceptor.utils.errors import PreceptorError


@torch.enable_grad()
def grad_cam(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Where in each image the evidence for a class lay: ReLU(Σₖ αₖ·Aₖ), αₖ the mean of ∂y_c/∂Aₖ over the map.

    Args:
        network: gives :class:`~preceptor.networks.output.NetworkOutput`. Run in evaluation mode, in which one image
            does not touch another; its mode and its gradients are left as they were.
        images: (B, 3, S, S) in [0, 1].
        classes: (B,) the class c of each image.

    Returns:
        (B, h, w) in [0, 1], each divided by its own maximum; all zero where nothing spoke for the class. Whether
        it is worth showing says :func:`~preceptor.evaluation.map_size.shows_places`.

    Raises:
        PreceptorError: the logits do not come from the feature map (as in transformers, where they come from a token).
    """
    with evaluating(network):
        # The gradient flows whether or not the weights are frozen: it starts at the images.
        output = network(images.detach().clone().requires_grad_())
        scores = output.logits.gather(1, classes[:, None]).sum()
        (slopes,) = torch.autograd.grad(scores, output.feature_map, allow_unused=True)
    if slopes is None:
        raise PreceptorError(
            "Grad-CAM: the logits of this network do not come from its feature map",
            expected="a convolutional backbone",
        )
    weights = slopes.mean(dim=(2, 3), keepdim=True)
    maps = (weights * output.feature_map.detach()).sum(dim=1).relu()
    most = maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(most > 0, maps / most.clamp_min(torch.finfo(maps.dtype).tiny), 0.0)
