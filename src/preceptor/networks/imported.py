"""A classifier that was trained elsewhere, as a network of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.pretrained import load_pretrained, normalisation, read_weights
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import global_generator_kept


def classifier_from_weights(
    weights: Path,
    backbone: str,
    classes: Sequence[str],
    image_size: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    several_labels: bool = False,
) -> Classifier:
    """Build a timm network, with its classifier, from a state dict.

    Args:
        weights: a ``.pth``, ``.pt`` or ``.safetensors`` file; prefixes such as ``module.`` are taken off.
        backbone: a timm name.
        classes: names in the order of the network's outputs.
        image_size: side of the images, in pixels.
        mean, std: of each channel, in [0, 1], by which its images were normalised; timm's for the backbone if None.
        several_labels: whether each output is a label of its own.

    Raises:
        PreceptorError: the file cannot be read, or holds another network, or one with another number of outputs.
    """
    of_mean, of_std = (
        tuple(map(float, usual if values is None else values))
        for usual, values in zip(normalisation(backbone), (mean, std), strict=True)
    )
    architecture = Architecture(backbone, tuple(classes), image_size, of_mean, of_std, several_labels=several_labels)
    with global_generator_kept():
        built = Classifier(architecture)
    load_pretrained(built.backbone, backbone, str(weights))
    _check_classifier(built, weights)
    return built.eval()


def in_order(network: Classifier, classes: Sequence[str]) -> Classifier:
    """Return the network with its outputs in another order of the same classes.

    Raises:
        PreceptorError: other classes, or a last layer that is not linear.
    """
    has, last = network.architecture.classes, network.classifier
    if sorted(has) != sorted(classes):
        raise PreceptorError(f"order: {', '.join(classes)}", expected=f"the classes in another order: {', '.join(has)}")
    if not isinstance(last, torch.nn.Linear):
        raise PreceptorError(f"order: the last layer of {network.architecture.backbone} is not linear")
    rows = torch.tensor([has.index(name) for name in classes])
    with torch.no_grad():
        last.weight.copy_(last.weight[rows])
        if last.bias is not None:
            last.bias.copy_(last.bias[rows])
    network.architecture = replace(network.architecture, classes=tuple(classes))
    return network


def _check_classifier(network: Classifier, weights: Path) -> None:
    """Refuse a file whose classifier was left out because it has another number of outputs."""
    state, classes = read_weights(weights), network.architecture.classes
    own = {id(tensor): name for name, tensor in network.backbone.named_parameters()}
    for tensor in network.classifier.parameters():
        name = own[id(tensor)]
        given = state.get(name)
        if given is None or given.shape != tensor.shape:
            what = f"lacks {name}" if given is None else f"has a classifier of {len(given)} outputs"
            raise PreceptorError(
                f"{weights}: {what}, not one of {len(classes)} ({', '.join(classes)})",
                expected="a network that was trained on these classes, each named once, in the order of its outputs",
            )
