"""The networks of a recipe, with their first weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.find_network import find_network
from preceptor.networks.kinds import KINDS, Network
from preceptor.networks.mean_teacher import MeanTeacher
from preceptor.networks.network_file import load_network
from preceptor.networks.pretrained import load_pretrained, normalisation
from preceptor.networks.segmenter import Segmenter, UNetArchitecture
from preceptor.recipe import NetworkConfig
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import global_generator_at

AnyNetwork = Network | MeanTeacher


def build_networks(
    wanted: Mapping[str, NetworkConfig],
    classes: tuple[str, ...],
    image_size: int,
    seed: int,
    kind: str = "classifier",
) -> tuple[dict[str, AnyNetwork], dict[str, str]]:
    """Networks by name in the recipe's order, and the start of each in words.

    Each network's random weights depend on its name and the seed alone, so that a student starts from the same
    weights whatever stands beside it.

    Args:
        classes: what the networks tell apart; of masks the background first.
        kind: of the networks, see :data:`preceptor.networks.kinds.KINDS`.

    Raises:
        PreceptorError: an unknown backbone, weights that are missing or another network's, a run of other classes.
    """
    networks: dict[str, AnyNetwork] = {}
    starts: dict[str, str] = {}
    # Those that use another's classifier come last: it must be there.
    for name, network in sorted(wanted.items(), key=lambda item: item[1].classifier_of is not None):
        if network.mean_of is not None:
            continue
        with global_generator_at(seed, "weights", name):
            if network.gives_features:
                built, starts[name] = _feature_teacher(network, image_size)
            elif network.classifier_of is not None:
                teacher = networks[network.classifier_of]
                built, starts[name] = _on_classifier_of(name, network, teacher, classes, image_size)
            else:
                built, starts[name] = _build(name, network, classes, image_size, kind)
        if network.frozen:
            built.requires_grad_(False)
        if network.frozen == "backbone" and built.projection is not None:
            built.projection.requires_grad_(True)
        if network.frozen == "features":
            built.classifier.requires_grad_(True)
        networks[name] = built
    for name, network in wanted.items():
        if network.mean_of is not None:
            student = networks[network.mean_of]
            assert not isinstance(student, MeanTeacher)
            with global_generator_at(seed, "weights", name):
                networks[name] = MeanTeacher(student, network.decay or 0.99, network.batch_norm or "averaged")
            starts[name] = f"mean of {network.mean_of}"
    return {name: networks[name] for name in wanted}, starts


def _build(
    name: str, network: NetworkConfig, classes: tuple[str, ...], image_size: int, kind: str
) -> tuple[Network, str]:
    if network.run is not None:
        return _from_run(name, network, classes, image_size, kind)
    return _BUILDERS[kind](network, classes, image_size)


def _segmenter(network: NetworkConfig, classes: tuple[str, ...], image_size: int) -> tuple[Network, str]:
    assert network.backbone is not None
    mean, std = normalisation(network.backbone)
    architecture = UNetArchitecture(
        network.backbone,
        classes,
        image_size,
        mean,
        std,
        projection=network.projection,
        dropout=network.dropout,
        map_channels=network.map_channels,
        heads=tuple(network.heads),
    )
    built = Segmenter(architecture)
    return built, built.start_from(network.pretrained)


def _classifier(
    network: NetworkConfig, classes: tuple[str, ...], image_size: int, several_labels: bool = False
) -> tuple[Network, str]:
    assert network.backbone is not None
    mean, std = normalisation(network.backbone)
    architecture = Architecture(
        network.backbone,
        classes,
        image_size,
        mean,
        std,
        projection=network.projection,
        dropout=network.dropout,
        bottleneck=network.bottleneck,
        map_channels=network.map_channels,
        several_labels=several_labels,
        heads=tuple(network.heads),
    )
    built = Classifier(architecture)
    return built, load_pretrained(built.backbone, network.backbone, network.pretrained)


def _feature_teacher(network: NetworkConfig, image_size: int) -> tuple[Network, str]:
    """Build a network without classes from pretrained weights, which see images of the side that they were made for."""
    assert network.backbone is not None
    mean, std = normalisation(network.backbone)
    built = Classifier(Architecture(network.backbone, (), image_size, mean, std, input_size=network.input_size))
    return built, load_pretrained(built.backbone, network.backbone, network.pretrained)


def _on_classifier_of(
    name: str, network: NetworkConfig, teacher: AnyNetwork, classes: tuple[str, ...], image_size: int
) -> tuple[Network, str]:
    """Build a network whose map goes through a projector and into the last layer of another (Chen et al. 2022)."""
    assert network.backbone is not None
    last = teacher.classifier
    if not isinstance(last, torch.nn.Linear) or last.in_features != teacher.channels:
        raise PreceptorError(
            f"networks.{name}.classifier_of: {network.classifier_of} does not average its last map into a linear layer",
            expected="a classifier such as a ResNet, DenseNet or MobileNetV2",
        )
    mean, std = normalisation(network.backbone)
    built = Classifier(
        Architecture(
            network.backbone,
            classes,
            image_size,
            mean,
            std,
            projection=network.projection,
            dropout=network.dropout,
            map_channels=teacher.channels,
            map_block="projector",
        )
    )
    start = load_pretrained(built.backbone, network.backbone, network.pretrained)
    built.classifier.load_state_dict(last.state_dict())
    built.classifier.requires_grad_(False)
    return built, f"{start}, classifier of {network.classifier_of}"


def _labeller(network: NetworkConfig, classes: tuple[str, ...], image_size: int) -> tuple[Network, str]:
    return _classifier(network, classes, image_size, several_labels=True)


_BUILDERS = {"classifier": _classifier, "labeller": _labeller, "segmenter": _segmenter}


def _from_run(
    name: str, network: NetworkConfig, classes: tuple[str, ...], image_size: int, kind: str
) -> tuple[Network, str]:
    key = f"networks.{name}.run"
    path = find_network(Path(str(network.run)), name, key)
    built, header = load_network(path, keep_generator=False)  # a new head is drawn after what loading draws
    has = built.architecture
    if not isinstance(built, KINDS[kind]):
        raise PreceptorError(
            f"{key}: {path} is a {type(built).__name__.lower()}", expected=f"a {kind}, as this task's networks are"
        )
    if has.classes != classes:
        raise PreceptorError(
            f"{key}: {path} has the classes {', '.join(has.classes)}",
            expected=f"this data's classes: {', '.join(classes)}",
        )
    if network.backbone not in (None, has.backbone):
        raise PreceptorError(
            f"{key}: {path} is a {has.backbone}, not a {network.backbone}",
            remedy=f"set networks.{name}.backbone={has.backbone}, or name another run",
        )
    at_size = _with_head(_at_size(built, image_size, key), network, f"{key}: {path}")
    if imported := header.get("imported"):
        return at_size, f"imported from {imported}"
    return at_size, f"run {path.parent.name}/{path.name}"


def _with_head(network: Network, wanted: NetworkConfig, where: str) -> Network:
    """The network with the projection head that is wanted: its own, or a new one where it may learn."""
    has = network.architecture.projection
    if wanted.projection in (None, has):
        return network
    if has is not None:
        raise PreceptorError(f"{where} has a projection {has}, not {wanted.projection}")
    if wanted.frozen is True:
        raise PreceptorError(
            f"{where} has no projection head, and a frozen network cannot learn one",
            expected="a network whose head was trained, as by the recipe sskd_head",
            remedy="train its head first: preceptor train sskd_head … networks.teacher.run=THIS",
        )
    headed = _anew(network, projection=wanted.projection)
    headed.load_state_dict(network.state_dict(), strict=False)
    return headed


def _anew(network: Network, **changes: Any) -> Network:
    """A network of the same architecture but for the changes, with random weights."""
    return type(network)(replace(network.architecture, **changes))  # type: ignore[arg-type, type-var]


def _at_size(network: Network, image_size: int, key: str) -> Network:
    """Return the network for another image size, which convolutions allow and position embeddings do not."""
    if network.architecture.image_size == image_size:
        return network
    resized = _anew(network, image_size=image_size)
    try:
        resized.load_state_dict(network.state_dict())
    except RuntimeError:
        raise PreceptorError(
            f"{key}: this {network.architecture.backbone} cannot take images of {image_size} px",
            remedy=f"set image_size={network.architecture.image_size}, or train it at {image_size} px",
        ) from None
    return resized
