"""Training steps of CRCKD and SSD-KD as their released code takes them, on ready images, and of a plain loop.

Written from the description of that code (docs/methods.md): bank rows fetched by index and multiplied by ``bmm``, an
image's negatives chosen on the host, centroids averaged anew from the whole bank, K×K channel relations, B×B×D
differences of embeddings, the mean teacher averaged parameter by parameter, everything in float32. They neither load
nor augment, which the engine's steps beside them do; the plain loop augments as such loops do, image by image.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision import transforms

from benchmarks.losses import (
    CLASSES,
    SIZE,
    Setting,
    literal_channels,
    literal_images,
    literal_relation,
    literal_sample,
    literal_side,
    literal_z,
)

VIEWS, RATIOS = 4, (1.0, 0.75)


@dataclass(frozen=True)
class Size:
    """What a step works on: images of a batch, their side, training images, and the backbones."""

    batch: int
    side: int
    rows: int
    student: str
    teacher: str
    device: torch.device


class Backbone(nn.Module):
    """A timm backbone with a classifier and a projection head, Linear or MLP, of unit rows.

    Args:
        bottleneck: width of the embedding that CRCKD's code puts before classifier and head, or None.
    """

    def __init__(self, name: str, bottleneck: int | None = None, mlp: bool = False) -> None:
        super().__init__()
        self.backbone: Any = timm.create_model(name, num_classes=0)
        with torch.no_grad():
            width = self.backbone(torch.zeros(2, 3, 64, 64)).shape[1]
        self.narrow = nn.Identity() if bottleneck is None else nn.Linear(width, bottleneck)
        width = bottleneck or width
        self.classifier = nn.Linear(width, CLASSES)
        deep = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.head = deep if mlp else nn.Linear(width, SIZE)
        self.width = width

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, last map and embedding."""
        feature_map = self.backbone.forward_features(images)
        embedding = self.narrow(self.backbone.forward_head(feature_map, pre_logits=True))
        return self.classifier(embedding), feature_map, embedding

    def project(self, embedding: Tensor) -> Tensor:
        return functional.normalize(self.head(embedding), dim=1)


class LiteralCRCKD:
    """CRCKD's step (Xing et al. 2021, official settings) with all of its terms."""

    def __init__(self, size: Size) -> None:
        self.size, self.at = size, Setting.of(size.rows, size.device, size.batch)
        self.student = Backbone(size.student, bottleneck=SIZE).to(size.device).train()
        self.teacher = copy.deepcopy(self.student)
        self.teacher.head.reset_parameters()  # type: ignore[operator]
        trained = [*self.student.parameters(), *self.teacher.head.parameters()]
        self.optimiser = torch.optim.Adam(trained, 1e-4, betas=(0.5, 0.999), weight_decay=5e-4)
        self.banks = self.at.student_bank.rows.clone(), self.at.teacher_bank.rows.clone()
        self.labels, self.rows = self.at.labels.cpu().numpy(), self.at.rows.tolist()
        self.images = [torch.rand(size.batch, 3, size.side, size.side, device=size.device) for _ in range(2)]
        self.draw, self.z, self.steps = np.random.default_rng(1), [], 0  # type: ignore[var-annotated]

    def __call__(self) -> float:
        """Take one step; the loss is read back, as for a log."""
        at, (student_bank, teacher_bank) = self.at, self.banks
        labels = at.labels[at.rows]
        index = torch.from_numpy(literal_sample(self.labels, self.rows, self.draw)).to(labels.device)
        logits, _, embedding = self.student(self.images[0])
        with torch.no_grad():
            their_logits, _, their_embedding = self.teacher(self.images[1])
        ours, theirs = self.student.project(embedding), self.teacher.project(their_embedding)
        if not self.z:
            self.z = [literal_z(ours.detach(), teacher_bank, index), literal_z(theirs.detach(), student_bank, index)]
        contrast = literal_side(ours, teacher_bank, index, self.z[0])
        contrast = contrast + literal_side(theirs, student_bank, index, self.z[1])
        with torch.no_grad():
            for bank, projection in ((student_bank, ours), (teacher_bank, theirs)):
                bank[at.rows] = functional.normalize(0.5 * bank[at.rows] + 0.5 * projection, dim=1)
        relation = literal_relation(ours, student_bank, at.labels)
        their_relation = literal_relation(theirs.detach(), teacher_bank, at.labels)
        loss = (
            functional.cross_entropy(logits, labels, weight=torch.ones(CLASSES, device=labels.device))
            + functional.kl_div(logits.log_softmax(1), their_logits.softmax(1), reduction="batchmean")
            + 0.1 * contrast
            + (their_relation * (their_relation / relation).log()).sum(1).mean()
        )
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self._average()
        return float(loss.item())

    @torch.no_grad()
    def _average(self) -> None:
        alpha = min(1 - 1 / (self.steps + 1), 0.99)
        self.steps += 1
        pairs = zip(self.teacher.named_parameters(), self.student.parameters(), strict=True)
        for (name, mine), value in pairs:
            if not name.startswith("head."):
                mine.mul_(alpha).add_(value, alpha=1 - alpha)


class LiteralSSDKD:
    """SSD-KD's student step (Wang et al. 2023): DRKD + 1000·CRKD + SSKD on four views of every image."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.student = Backbone(size.student, mlp=True).to(size.device).train()
        self.teacher = Backbone(size.teacher, mlp=True).to(size.device).eval().requires_grad_(False)
        side = size.side
        images = torch.rand(size.batch, 3, side, side, device=size.device)
        self.images = torch.cat([images.rot90(turn, (2, 3)) for turn in range(VIEWS)])
        self.labels = torch.arange(size.batch, device=size.device) % CLASSES
        with torch.no_grad():
            channels = [network(self.images[:1])[1].shape[1] for network in (self.student.eval(), self.teacher)]
        self.student.train()
        adapter = nn.Sequential(nn.Conv2d(channels[0], channels[1], 1), nn.BatchNorm2d(channels[1]), nn.ReLU())
        self.adapter = adapter.to(size.device)
        trained = [*self.student.parameters(), *self.adapter.parameters()]
        self.optimiser = torch.optim.Adam(trained, 1e-4)

    def __call__(self) -> float:
        """Take one step; the loss is read back, as for a log."""
        with torch.no_grad():
            their_logits, their_map, their_embedding = self.teacher(self.images)
            their_projection = self.teacher.project(their_embedding)
        logits, feature_map, embedding = self.student(self.images)
        loss = (
            literal_images(embedding, their_embedding)
            + 1000 * literal_channels(self.adapter(feature_map), their_map)
            + self._self_supervision(logits, their_logits, self.student.project(embedding), their_projection)
        )
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float(loss.item())

    def _self_supervision(self, logits: Tensor, theirs: Tensor, projection: Tensor, their_projection: Tensor) -> Tensor:
        count = self.size.batch
        ours, their_rows = self._similarities(projection), self._similarities(their_projection)
        sources = torch.arange(count, device=logits.device).repeat(VIEWS - 1)
        right = self._kept(theirs[count:], self.labels.repeat(VIEWS - 1), RATIOS[0])
        similar = self._kept(their_rows, sources, RATIOS[1])
        return (
            0.1 * functional.cross_entropy(logits[:count], self.labels)
            + 0.9 * divergence(logits[:count], theirs[:count], 4)
            + 2.7 * divergence(logits[count:][right], theirs[count:][right], 4)
            + 10 * divergence(ours[similar], their_rows[similar], 0.5)
        )

    def _similarities(self, projection: Tensor) -> Tensor:
        """Cosines of every turned view with every upright one, (3B, B)."""
        upright, turned = projection[: self.size.batch], projection[self.size.batch :]
        return functional.cosine_similarity(turned[:, None], upright[None], dim=2)

    @staticmethod
    def _kept(scores: Tensor, targets: Tensor, ratio: float) -> Tensor:
        """All right predictions, and of the wrong ones those whose answer ranks best, sorted on the host."""
        ranks = scores.argsort(dim=1, descending=True)
        places = torch.nonzero(ranks == targets[:, None])[:, 1]
        order = torch.argsort(places, stable=True)
        right = int((places == 0).sum())
        return order[: right + int(ratio * (len(places) - right))]


class PlainLoop:
    """Distillation by KL and cross-entropy in a plain PyTorch loop: the same backbones, torchvision's transforms of the
    kinds that the policy ``dermoscopy`` has."""

    def __init__(self, size: Size) -> None:
        self.device = size.device
        self.student = timm.create_model(size.student, num_classes=CLASSES).to(size.device).train()
        self.teacher = timm.create_model(size.teacher, num_classes=CLASSES).to(size.device).eval()
        self.optimiser = torch.optim.Adam(self.student.parameters(), 1e-4)
        pixels = np.random.default_rng(0).integers(0, 256, (size.batch, size.side, size.side, 3), dtype=np.uint8)
        self.images = [Image.fromarray(image) for image in pixels]
        self.transform = transforms.Compose(
            [
                transforms.RandomHorizontalFlip(),
                transforms.RandomAffine(45, (0.05, 0.05), (0.9, 1.25)),
                transforms.ColorJitter(0.15, 0.15, 0.15),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )
        self.labels = torch.arange(size.batch, device=size.device) % CLASSES

    def __call__(self) -> float:
        """Take one step; the loss is read back, as for a log."""
        images = torch.stack([self.transform(image) for image in self.images]).to(self.device)
        with torch.no_grad():
            theirs = self.teacher(images)
        logits = self.student(images)
        loss = functional.cross_entropy(logits, self.labels) + divergence(logits, theirs, 4)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float(loss.item())


def divergence(logits: Tensor, theirs: Tensor, temperature: float) -> Tensor:
    """T²·KL(theirs ‖ ours) at temperature T, the mean over rows."""
    ours = (logits / temperature).log_softmax(1)
    value = functional.kl_div(ours, (theirs / temperature).softmax(1), reduction="batchmean")
    return temperature**2 * value
