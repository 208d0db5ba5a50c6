"""What CRCKD's objectives add to a training step, and what the size of the memory banks does to it.

    python -m benchmarks.crckd [--json FILE] [--backbone mobilenetv2_100] [--rows 10000 1000000]

A step is: the teacher's forward pass, the student's forward and backward, Adam, the mean teacher; and then
cross-entropy, KL, CCD on both sides with its sampling, CRP, and the update of both banks. The networks are timed alone,
the objectives alone (forward, backward and update, on outputs that stand), and both as one step, in turns. ``share`` is
what the objectives are of the sum of the two; the whole step shows what the banks do to the networks' caches besides.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.losses import Setting
from benchmarks.measure import seconds
from preceptor.losses.ccd import ClassContrastive
from preceptor.losses.cross_entropy import CrossEntropy
from preceptor.losses.crp import CategoricalRelation
from preceptor.losses.kl import KLDivergence
from preceptor.utils.randomness import generator

CLASSES, SIZE, DECAY = 7, 128, 0.99


@dataclass(frozen=True)
class Step:
    """``share`` = objectives_seconds / (networks_seconds + objectives_seconds)."""

    backbone: str
    image_size: int
    batch: int
    rows: int
    step_seconds: float
    networks_seconds: float
    objectives_seconds: float
    share: float


class NetworkConfig(nn.Module):
    """A backbone with a classifier and a projection head; the head alone learns where the network is a teacher."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        self.backbone = timm.create_model(backbone, num_classes=0)
        with torch.no_grad():  # timm's num_features is not the width of every backbone's output
            width = self.backbone(torch.zeros(2, 3, 64, 64)).shape[1]
        self.classifier, self.head = nn.Linear(width, CLASSES), nn.Linear(width, SIZE)

    def forward(self, images: Tensor, learns: bool) -> tuple[Tensor, Tensor]:
        with torch.set_grad_enabled(learns):
            embedding = self.backbone(images)
            logits = self.classifier(embedding)
        return logits, functional.normalize(self.head(embedding), dim=1)


class Pupils:
    """Student, mean teacher, optimiser and a batch of images."""

    def __init__(self, backbone: str, image_size: int, batch: int, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.student = NetworkConfig(backbone).to(device)
        self.teacher = copy.deepcopy(self.student)
        self.images = torch.rand(2, batch, 3, image_size, image_size, generator=generator(0)).to(device)
        self.optimiser = torch.optim.Adam([*self.student.parameters(), *self.teacher.head.parameters()], lr=1e-4)
        self._averaged: list[Tensor] = _without_head(self.teacher)
        self._sources: list[Tensor] = _without_head(self.student)

    def outputs(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        return self.student(self.images[0], learns=True), self.teacher(self.images[1], learns=False)

    def step(self, loss: Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]) -> None:
        self.optimiser.zero_grad()
        student, teacher = self.outputs()
        loss(student, teacher).backward()
        self.optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(self._averaged, self._sources, 1 - DECAY)


def _without_head(network: NetworkConfig) -> list[Tensor]:
    return [*network.backbone.parameters(), *network.classifier.parameters()]


class Objectives:
    """CRCKD's loss (Xing et al. 2021, eq. 6) and its banks."""

    def __init__(self, setting: Setting, device: torch.device) -> None:
        self.at, self.calls = setting, 0
        counts = torch.bincount(setting.labels.cpu(), minlength=CLASSES)
        self.cross_entropy = CrossEntropy("inverse_frequency", class_counts=counts).to(device)
        self.kl = KLDivergence()
        self.ccd = ClassContrastive(row_labels=setting.labels).to(device)
        self.crp = CategoricalRelation("official").to(device)

    def __call__(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        (logits, projection), (teacher_logits, teacher_projection) = student, teacher
        at, banks = self.at, (self.at.student_bank, self.at.teacher_bank)
        self.calls += 1
        draw = generator(0, self.calls, "ccd", device=at.rows.device)
        return (
            self.cross_entropy(logits, at.labels[at.rows])
            + self.kl(logits, teacher_logits)
            + 0.1 * self.ccd(projection, teacher_projection, at.rows, *banks, draw)
            + self.crp(projection, teacher_projection, *banks)
        )

    def update(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> None:
        self.at.student_bank.update(self.at.rows, student[1].detach())
        self.at.teacher_bank.update(self.at.rows, teacher[1].detach())


def measure(backbone: str, image_size: int, batch: int, counts: list[int], device: torch.device) -> list[Step]:
    """One :class:`Step` for each size of the banks, all timed in the same turns."""
    pupils = Pupils(backbone, image_size, batch, device)

    def networks(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        return student[0].mean() + student[1].mean() + teacher[1].mean()

    def whole_step(objectives: Objectives) -> Callable[[], None]:
        outputs: list[Sequence[Tensor]] = []

        def loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
            outputs[:] = student, teacher
            return objectives(student, teacher)

        def step() -> None:
            pupils.step(loss)
            objectives.update(*outputs)

        return step

    outputs = [[output.detach() for output in network] for network in pupils.outputs()]

    def objectives_alone(objectives: Objectives) -> Callable[[], None]:
        def step() -> None:
            student, teacher = ([output.clone().requires_grad_() for output in network] for network in outputs)
            objectives(student, teacher).backward()
            objectives.update(student, teacher)

        return step

    sets = [Objectives(Setting.of(count, device, batch), device) for count in counts]
    alone = seconds(*[objectives_alone(objectives) for objectives in sets])
    floor, *whole = seconds(lambda: pupils.step(networks), *[whole_step(objectives) for objectives in sets])
    return [
        Step(backbone, image_size, batch, count, step, floor, extra, extra / (floor + extra))
        for count, step, extra in zip(counts, whole, alone, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the steps to this file")
    parser.add_argument("--backbone", nargs="+", default=["mobilenetv2_100", "densenet121"])
    parser.add_argument("--image-size", type=int, default=112)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000], help="sizes N of the banks")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    given = parser.parse_args()
    done: list[Step] = []
    for backbone in given.backbone:
        done += measure(backbone, given.image_size, given.batch, given.rows, torch.device(given.device))
    for step in done:
        print(
            f"{step.backbone:<16} N {step.rows:>9,}: {step.step_seconds * 1e3:7.1f} ms per step; networks alone "
            f"{step.networks_seconds * 1e3:7.1f} ms, objectives alone {step.objectives_seconds * 1e3:6.1f} ms"
            f" = {step.share:.1%}"
        )
    if given.json:
        given.json.write_text(json.dumps([asdict(step) for step in done], indent=1) + "\n")


if __name__ == "__main__":
    main()
