"""Networks and losses under ``torch.export`` and ``torch.compile``: the same values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from preceptor.losses.registry import LOSSES
from preceptor.networks.output import NetworkOutput
from preceptor.networks.segmenter import Segmenter, UNetArchitecture
from preceptor.testing.sample import let_train, trial
from small_networks import classifier, images

BATCH = torch.export.Dim("batch")
#: One loss of each kind of input: logits, relations of images, relations of channels, maps, masks.
SOME = ("cross_entropy", "kl", "crp", "fitnet", "dice")


@pytest.fixture(autouse=True)
def _own_compilations() -> None:
    torch._dynamo.reset()


def assert_same(ours: NetworkOutput, theirs: NetworkOutput) -> None:
    for name in ("logits", "feature_map", "embedding"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["classifier", "U-Net"])
def test_networks_are_exported_with_their_output(kind: str) -> None:
    unet = UNetArchitecture("test_resnet", ("background", "lesion"), 32, (0.5,) * 3, (0.5,) * 3)
    network = classifier().eval() if kind == "classifier" else Segmenter(unet).eval()
    program = torch.export.export(network, (images(2),), dynamic_shapes=({0: BATCH},))
    output = program.module()(images(3))
    assert isinstance(output, NetworkOutput)
    assert_same(output, network(images(3)))


def test_networks_are_compiled_in_one_graph() -> None:
    network = classifier().eval()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    assert_same(compiled(images(2)), network(images(2)))


def value_and_gradients(name: str, compiled: bool) -> tuple[Tensor, list[Tensor | None]]:
    spec = LOSSES[name]
    example = trial(spec)
    leaves = [tensor for _, tensor in let_train(spec, example.inputs)]
    module = torch.compile(example.module, backend="aot_eager") if compiled else example.module
    value = module(**example.inputs)
    return value.detach(), list(torch.autograd.grad(value, leaves, allow_unused=True))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in SOME else pytest.mark.slow) for name in sorted(LOSSES)]
)
def test_a_compiled_loss_has_the_same_value_and_gradient(name: str) -> None:
    value, gradients = value_and_gradients(name, compiled=False)
    compiled_value, compiled_gradients = value_and_gradients(name, compiled=True)
    torch.testing.assert_close(compiled_value, value, rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(compiled_gradients, gradients, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)
