"""What each mode of ``precision`` does to the time and the outputs of a network.

    python -m benchmarks.modes [BACKBONE …] [--image-size 96] [--batch 32] [--steps 5] [--json FILE]

``frozen`` is a teacher's forward pass, ``learning`` a student's forward and backward pass; ``ratio`` is the time in
float32 over that in the mode, in turns in one process (CPU time without a GPU). ``error`` is the largest relative error
of an output against float32, which ``precision=auto`` holds to 0.03. Weights are random, batch norms as of a network
that has seen these images.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measure import step_seconds
from preceptor.networks.classifier import Architecture, Classifier
from preceptor.networks.folding import relative_error
from preceptor.networks.pretrained import normalisation
from preceptor.recipe import ForwardMode
from preceptor.training.network_pass import NetworkPass

BACKBONES = ("resnet50", "densenet121", "tf_efficientnet_lite2", "mobilenetv2_100")
FROZEN, LEARNING = ("float32", "bf16", "float32+folded", "bf16+folded"), ("float32", "bf16")


@dataclass(frozen=True)
class ModeTime:
    """One network in one mode; ``ratio`` = seconds in float32 / seconds."""

    backbone: str
    role: str
    mode: str
    seconds: float
    ratio: float
    error: float


def measure(backbone: str, images: Tensor, steps: int) -> list[ModeTime]:
    """Time every mode of a backbone as a frozen and as a learning network."""
    mean, std = normalisation(backbone)
    torch.manual_seed(0)
    network = Classifier(Architecture(backbone, tuple("abcdefg"), images.shape[-1], mean, std)).to(images.device)
    with torch.no_grad():
        for _ in range(10):
            network.train()(images)
    times = _times(backbone, "frozen", FROZEN, network.eval(), images, steps)
    return times + _times(backbone, "learning", LEARNING, network, images, steps)


def _times(
    backbone: str, role: str, modes: tuple[str, ...], network: Classifier, images: Tensor, steps: int
) -> list[ModeTime]:
    frozen = role == "frozen"
    passes = [NetworkPass(network, ForwardMode.parse(mode), frozen=frozen) for mode in modes]
    with torch.no_grad():
        outputs = [run(images).tensors() for run in passes]
    errors = [max(relative_error(*pair) for pair in zip(output, outputs[0], strict=True)) for output in outputs]
    if not frozen:
        network.train()

    def work(run: NetworkPass) -> None:
        output = run(images)
        if not frozen:
            torch.stack([value.mean() for value in output.tensors()]).sum().backward()  # type: ignore[no-untyped-call]

    seconds = step_seconds(*(lambda run=run: work(run) for run in passes), repeats=steps)  # type: ignore[misc]
    rows = zip(modes, seconds, errors, strict=True)
    return [ModeTime(backbone, role, mode, taken, seconds[0] / taken, error) for mode, taken, error in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbones", nargs="*", default=BACKBONES)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5, help="timed turns of each")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.rand(options.batch, 3, options.image_size, options.image_size, device=device)
    rows = []
    for backbone in options.backbones:
        for row in measure(backbone, images, options.steps):
            rows.append(row)
            print(
                f"{row.backbone:<22} {row.role:<9} {row.mode:<15} {row.seconds * 1e3:8.1f} ms  {row.ratio:4.2f}x  "
                f"error {row.error:.1e}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
