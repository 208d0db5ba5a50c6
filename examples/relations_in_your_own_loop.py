"""CRD, CCD, RKD and SSKD in a training loop of your own: what each of them needs, and in which order.

    python examples/relations_in_your_own_loop.py          # all four
    python examples/relations_in_your_own_loop.py ccd      # one of them

- CRD and CCD compare an image's projection with those of other images, which a memory bank of each network keeps. The
  banks are updated after the optimiser's step, and every batch says which rows of the training part it holds.
- RKD compares distances and angles between the embeddings of a batch.
- SSKD sees each image under V transforms, in V blocks of B rows, the upright ones first. The teacher's head is trained
  before the student, with the backbone frozen.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from preceptor.losses import (
    ClassContrastive,
    ContrastiveRepresentation,
    ImageRelation,
    KLDivergence,
    Pretext,
    SimilarityTransfer,
    TransformedLogits,
)
from preceptor.networks.memory_bank import MemoryBank

COUNT, CLASSES, SIZE, PROJECTION, EPOCHS, BATCH, VIEWS = 256, 4, 16, 16, 4, 32, 4


class Network(nn.Module):
    """A backbone with a classifier, and a projection head that inference leaves out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.classifier = nn.Linear(4 * width, CLASSES)
        self.head = nn.Linear(4 * width, PROJECTION)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, C), embedding (B, D), projection (B, d) of unit length."""
        embedding = self.backbone(images)
        return self.classifier(embedding), embedding, functional.normalize(self.head(embedding), dim=1)


def batches(labels: Tensor, epochs: int = EPOCHS) -> Iterator[Tensor]:
    """Rows of the training part, as a shuffled loader with an index gives them."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        yield from torch.randperm(len(labels), generator=generator).split(BATCH)


def step(optimiser: torch.optim.Optimizer, loss: Tensor) -> float:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


def contrastive(
    make: Callable[[Tensor], nn.Module], images: Tensor, labels: Tensor, teacher: Network, student: Network
) -> list[float]:
    """CRD or CCD. The teacher's own projection head learns with the student; its backbone does not."""
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (MemoryBank(labels, PROJECTION, CLASSES, generator) for _ in range(2))
    loss = make(labels)
    optimiser = torch.optim.Adam([*student.parameters(), *teacher.head.parameters()], lr=3e-3)
    values = []
    for rows in batches(labels):
        logits, _, projection = student(images[rows])
        with torch.no_grad():
            embedding = teacher.backbone(images[rows])
        target = functional.normalize(teacher.head(embedding), dim=1)
        term = loss(projection, target, rows, ours, theirs, generator)
        values.append(step(optimiser, functional.cross_entropy(logits, labels[rows]) + 0.1 * term))
        ours.update(rows, projection.detach())  # after the step: a loss reads what earlier batches left
        theirs.update(rows, target.detach())
    return values


def crd(images: Tensor, labels: Tensor, teacher: Network, student: Network) -> list[float]:
    """Contrastive representation distillation (Tian et al. 2020): the image itself against all others."""
    return contrastive(
        lambda row_labels: ContrastiveRepresentation(negatives=128, row_labels=row_labels),
        images, labels, teacher, student,
    )  # fmt: skip


def ccd(images: Tensor, labels: Tensor, teacher: Network, student: Network) -> list[float]:
    """Class-guided contrastive distillation (Xing et al. 2021): images of a class are positives of one another."""
    return contrastive(
        lambda row_labels: ClassContrastive(positives=8, negatives=128, row_labels=row_labels),
        images, labels, teacher, student,
    )  # fmt: skip


def rkd(images: Tensor, labels: Tensor, teacher: Network, student: Network) -> list[float]:
    """Relational distillation (Park et al. 2019): the embeddings' widths need not agree."""
    loss, optimiser = ImageRelation(), torch.optim.Adam(student.parameters(), lr=3e-3)
    values = []
    for rows in batches(labels):
        logits, embedding, _ = student(images[rows])
        with torch.no_grad():
            _, target, _ = teacher(images[rows])
        values.append(step(optimiser, functional.cross_entropy(logits, labels[rows]) + loss(embedding, target)))
    return values


def sskd(images: Tensor, labels: Tensor, teacher: Network, student: Network) -> list[float]:
    """Self-supervised distillation (Xu et al. 2020): first the teacher's head, then the student."""
    pretext, optimiser = Pretext(), torch.optim.SGD(teacher.head.parameters(), lr=0.1)
    for rows in batches(labels, epochs=1):
        with torch.no_grad():
            embedding = teacher.backbone(rotations(images[rows]))
        step(optimiser, pretext(functional.normalize(teacher.head(embedding), dim=1), VIEWS))

    kl, logits_loss, similarity = KLDivergence(4.0), TransformedLogits(), SimilarityTransfer()
    optimiser = torch.optim.Adam(student.parameters(), lr=3e-3)
    values = []
    for rows in batches(labels):
        views, upright = rotations(images[rows]), len(rows)
        logits, _, projection = student(views)
        with torch.no_grad():
            target, _, target_projection = teacher(views)
        loss = (
            0.1 * functional.cross_entropy(logits[:upright], labels[rows])
            + 0.9 * kl(logits[:upright], target[:upright])
            + 2.7 * logits_loss(logits, target, labels[rows], VIEWS)
            + 10 * similarity(projection, target_projection, VIEWS)
        )
        values.append(step(optimiser, loss))
    return values


def rotations(images: Tensor) -> Tensor:
    """(4·B, 3, H, W): all images upright, then all of them turned by 90°, 180° and 270°."""
    return torch.cat([images.rot90(quarter, (2, 3)) for quarter in range(VIEWS)])


METHODS = {"crd": crd, "ccd": ccd, "rkd": rkd, "sskd": sskd}


def main(names: list[str]) -> None:
    torch.manual_seed(0)
    labels = torch.arange(COUNT) % CLASSES
    images = torch.randn(COUNT, 3, SIZE, SIZE) + labels[:, None, None, None] * torch.linspace(0, 0.5, SIZE)
    for name in names or METHODS:
        teacher = Network(16).eval().requires_grad_(False)  # stands for one that has been trained
        teacher.head.requires_grad_(True)
        values = METHODS[name](images, labels, teacher, Network(4))
        print(f"{name:5} loss {values[0]:7.3f} in the first batch, {values[-1]:7.3f} in the last")


if __name__ == "__main__":
    main(sys.argv[1:])
