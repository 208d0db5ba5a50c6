"""The part of an exported graph that PyTorch writes: square images to logits, of one network or of an ensemble."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import onnx
import torch
from torch import Tensor, nn

from preceptor.deploy.manifest import Target
from preceptor.utils.randomness import global_generator_kept

#: The oldest opset with all that the exported graphs use; antialiased resizing came with opset 18.
OPSET = 20
#: Keeps the logarithm of a joint probability finite that float32 rounded to zero, and is too small to show in others.
#: It is part of the exported graph, and not of the fit of a temperature, whose floor is lower.
_LEAST_PROBABILITY = 1e-12


class Single(nn.Module):
    """One network: images (B, 3, S, S) in [0, 1] to ``(logits, feature_map)``."""

    outputs = ("logits", "feature_map")

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        output = self.network(images)
        return output.logits, output.feature_map


class Ensemble(nn.Module):
    """Several networks as one: images (B, 3, S, S) in [0, 1] to ``(logits,)`` of their joint probabilities.

    Args:
        networks: the members, all with the same classes and image size.
        target: what they predict (see :func:`joint_classes`, :func:`joint_labels` and :func:`joint_masks`).
    """

    outputs = ("logits",)

    def __init__(self, networks: Sequence[nn.Module], target: Target) -> None:
        super().__init__()
        self.members = nn.ModuleList(networks)
        self.target = target

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        logits = torch.stack([member(images).logits for member in self.members])
        if self.target == "labels":
            return (joint_labels(logits),)
        join = joint_masks if self.target == "mask" else joint_classes
        return (join(logits.softmax(2)).clamp_min(_LEAST_PROBABILITY).log(),)


def joint_classes(probabilities: Tensor) -> Tensor:
    """The class-wise maximum over M networks divided by its sum (Niyaz et al. 2024).

    Args:
        probabilities: (M, B, C).

    Returns:
        (B, C), rows sum to one; :func:`preceptor.evaluation.ensemble.with_ensembles` gives the same.
    """
    most = probabilities.amax(0)
    return most / most.sum(1, keepdim=True)


def joint_labels(logits: Tensor) -> Tensor:
    """The largest logit (B, L) that any of M networks gives a label, of logits (M, B, L)."""
    return logits.amax(0)


def joint_masks(probabilities: Tensor) -> Tensor:
    """Probabilities (B, C, H, W) whose most probable class is the union of M networks' masks.

    Where a network calls a pixel foreground, a foreground class has the largest probability that such a network gives
    it, and the background the smallest. Elsewhere every class has its largest.

    Args:
        probabilities: (M, B, C, H, W), background first.
    """
    votes = (probabilities.argmax(2, keepdim=True) > 0).to(probabilities.dtype)  # (M, B, 1, H, W)
    voters = probabilities * votes
    any_vote = votes.amax(0)
    background = any_vote * (probabilities + 2 * (1 - votes))[:, :, :1].amin(0)
    background = background + (1 - any_vote) * probabilities[:, :, :1].amax(0)
    foreground = any_vote * voters[:, :, 1:].amax(0) + (1 - any_vote) * probabilities[:, :, 1:].amax(0)
    joint = torch.cat([background, foreground], dim=1)
    return joint / joint.sum(1, keepdim=True)


def joined(networks: Mapping[str, nn.Module], target: Target) -> Single | Ensemble:
    """The network itself, or the ensemble of several, in evaluation mode."""
    members = list(networks.values())
    return (Single(members[0]) if len(members) == 1 else Ensemble(members, target)).eval()


def network_graph(module: Single | Ensemble, image_size: int) -> onnx.ModelProto:
    """Write a module as an ONNX graph with a free batch dimension.

    Args:
        module: takes images (B, 3, S, S), float in [0, 1]; normalises them itself.
        image_size: S.

    Returns:
        A checked model with the input ``image`` and the module's outputs.
    """
    examples = torch.rand(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), torch.no_grad(), global_generator_kept():  # which torch.export sets back and forth
        warnings.simplefilter("ignore")  # of torch and onnxscript about each other's versions
        program = torch.onnx.export(
            module,
            (examples,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=list(module.outputs),
            dynamic_shapes=({0: batch},),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    del model.graph.metadata_props[:]
    for node in model.graph.node:  # stack traces with the paths of this machine
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.checker.check_model(model)
    return model
