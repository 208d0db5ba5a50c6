"""The losses against their formulas written out: time, memory and error.

    python -m benchmarks.losses [--json FILE] [--device cuda] [--rows N …] [--only ccd crp crkd drkd ifvd …]

Each literal form is what one writes straight from the paper: bank rows fetched by index and multiplied by ``bmm``,
centroids averaged anew from the whole bank, an image's negatives chosen on the host, K×K channel relations, B×B×D
differences of embeddings, and those of the peer methods in :mod:`benchmarks.peer_losses`. A comparison runs both in
turns in one process, float32, forward and backward; errors are those of the float32 fast form against the literal one
in float64, relative to its value and to the largest entry of its gradient.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from benchmarks.compare import Comparison, Form, compare, line
from benchmarks.peer_losses import PEERS
from preceptor.losses.ccd import ClassContrastive
from preceptor.losses.channel_relation import ChannelRelation
from preceptor.losses.crp import CategoricalRelation
from preceptor.losses.image_relation import ImageRelation
from preceptor.networks.memory_bank import MemoryBank
from preceptor.utils.randomness import generator

BATCH, SIZE, POSITIVES, NEGATIVES, CLASSES, TAU = 64, 128, 20, 4096, 7, 0.07
#: Feature maps that CRKD compares: B, K and the side of a map.
MAPS = (32, 2048, 7)
#: Embeddings that DRKD compares: B, D of the student, D of the teacher.
EMBEDDINGS = (128, 1280, 2048)
#: HAM10000's class sizes as shares.
SHARES = torch.tensor([0.0327, 0.0513, 0.1097, 0.0115, 0.1111, 0.6695, 0.0142])


@dataclass(frozen=True)
class Setting:
    """A batch in the middle of a run, with N training images of seven classes."""

    labels: Tensor
    student: Tensor
    teacher: Tensor
    rows: Tensor
    student_bank: MemoryBank
    teacher_bank: MemoryBank

    @classmethod
    def of(cls, count: int, device: torch.device, batch: int) -> Setting:
        draw = generator(count)
        labels = torch.multinomial(SHARES, count, replacement=True, generator=draw)
        banks = [MemoryBank(labels, SIZE, CLASSES, draw).to(device) for _ in range(2)]
        student, teacher = functional.normalize(torch.randn(2, batch, SIZE, generator=draw), dim=2).to(device)
        rows = torch.randperm(count, generator=draw)[:batch].to(device)
        return cls(labels.to(device), student, teacher, rows, *banks)


def literal_side(query: Tensor, bank: Tensor, index: Tensor, z: Tensor) -> Tensor:
    """One side of CCD, as its equation stands: fetch, multiply, exponentiate, divide, take logarithms."""
    fetched = bank.index_select(0, index.flatten()).view(*index.shape, -1).to(query.dtype)
    x = torch.exp(torch.bmm(fetched, query[:, :, None]).squeeze(2) / TAU) / z.to(query.dtype)
    c = NEGATIVES / len(bank)
    positive, negative = (x / (x + c)).log(), (c / (x + c)).log()
    return -(positive[:, :POSITIVES].sum() / POSITIVES + negative[:, POSITIVES:].sum()) / len(query)


def literal_z(query: Tensor, bank: Tensor, index: Tensor) -> Tensor:
    scores = [bank[chosen].double() @ projection.double() for projection, chosen in zip(query, index, strict=True)]
    return torch.exp(torch.stack(scores) / TAU).mean() * len(bank)


def literal_sample(labels: np.ndarray, rows: list[int], draw: np.random.Generator) -> np.ndarray:
    """Positives and negatives of each image, chosen on the host as a data loader would."""
    own = [np.flatnonzero(labels == label) for label in range(CLASSES)]
    others = [np.flatnonzero(labels != label) for label in range(CLASSES)]
    index = np.empty((len(rows), POSITIVES + NEGATIVES), dtype=np.int64)
    for at, row in enumerate(rows):
        for pool, part, number in (
            (own[labels[row]], index[at, 1:POSITIVES], POSITIVES - 1),
            (others[labels[row]], index[at, POSITIVES:], NEGATIVES),
        ):
            part[:] = draw.choice(pool, number, replace=len(pool) < number)
        index[at, 0] = row
    return index


class GivenSample(ClassContrastive):
    """The loss on a sample that stands."""

    index: Tensor

    def sample(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        return self.index


def ccd(count: int, device: torch.device) -> Iterator[Comparison]:
    """CCD on one sample for both forms; then again with each form's own way of sampling."""
    at = Setting.of(count, device, BATCH)
    banks = at.student_bank.rows, at.teacher_bank.rows
    sampling = ClassContrastive(POSITIVES, NEGATIVES, TAU, row_labels=at.labels).to(device)
    given = GivenSample(POSITIVES, NEGATIVES, TAU, row_labels=at.labels).to(device)
    given.index = index = sampling.sample(at.rows, generator(1, device=device))
    z = [literal_z(at.student, banks[1], index), literal_z(at.teacher, banks[0], index)]

    def fast(loss: ClassContrastive) -> Form:
        return lambda student, teacher: loss(student, teacher, at.rows, *banks, generator(1, device=device))

    def literal(student: Tensor, teacher: Tensor, index: Tensor = index) -> Tensor:
        return literal_side(student, banks[1], index, z[0]) + literal_side(teacher, banks[0], index, z[1])

    labels, rows, host = at.labels.cpu().numpy(), at.rows.tolist(), np.random.default_rng(1)

    def literal_from_host(student: Tensor, teacher: Tensor) -> Tensor:
        return literal(student, teacher, torch.from_numpy(literal_sample(labels, rows, host)).to(device))

    shape = f"N {count}, B {BATCH}, d {SIZE}, kP {POSITIVES}, kN {NEGATIVES}"
    yield compare("ccd", shape, (at.student, at.teacher), fast(given), literal, literal)
    yield compare("ccd with sampling", shape, (at.student, at.teacher), fast(sampling), literal_from_host, literal)


def literal_relation(query: Tensor, bank: Tensor, labels: Tensor) -> Tensor:
    """R of CRP (official variant), its centroids from the whole bank."""
    centroids = torch.stack([bank[labels == label].to(query.dtype).relu().mean(0) for label in range(CLASSES)])
    cosines = functional.cosine_similarity(query[:, None], centroids[None], dim=2)
    return (cosines / TAU).softmax(1)


def crp(count: int, device: torch.device) -> Iterator[Comparison]:
    """CRP and the update of both banks."""
    at = Setting.of(count, device, BATCH)
    loss = CategoricalRelation("official").to(device)
    plain = at.student_bank.rows.clone(), at.teacher_bank.rows.clone()

    def fast(student: Tensor, teacher: Tensor) -> Tensor:
        value = loss(student, teacher, at.student_bank, at.teacher_bank)
        at.student_bank.update(at.rows, student.detach())
        at.teacher_bank.update(at.rows, teacher.detach())
        return value

    def exact(student: Tensor, teacher: Tensor) -> Tensor:
        ours = literal_relation(student, plain[0], at.labels)
        theirs = literal_relation(teacher.detach(), plain[1], at.labels)
        return (theirs * (theirs / ours).log()).sum(1).mean()

    def literal(student: Tensor, teacher: Tensor) -> Tensor:
        value = exact(student, teacher)
        for rows, projections in zip(plain, (student, teacher), strict=True):
            rows[at.rows] = functional.normalize(0.5 * rows[at.rows] + 0.5 * projections.detach(), dim=1)
        return value

    shape = f"N {count}, B {BATCH}, d {SIZE}, C {CLASSES}"
    yield compare("crp with bank update", shape, (at.student, at.teacher), fast, literal, exact)


def literal_channels(student: Tensor, teacher: Tensor) -> Tensor:
    """CRKD in the code's form, its K×K matrices in memory."""
    ours, theirs = student.flatten(2), teacher.to(student.dtype).flatten(2)
    difference = theirs @ theirs.mT - ours @ ours.mT
    return difference.square().mean().sqrt() / teacher[0].numel()


def literal_channels_by_image(student: Tensor, teacher: Tensor) -> Tensor:
    """The same with the matrices of one image at a time, for float64."""

    def square(ours: Tensor, theirs: Tensor) -> Tensor:
        return (theirs @ theirs.T - ours @ ours.T).square().mean()

    pairs = zip(student.flatten(2), teacher.to(student.dtype).flatten(2), strict=True)
    squares = [checkpoint(square, ours, theirs, use_reentrant=False) for ours, theirs in pairs]
    return torch.stack(squares).mean().sqrt() / teacher[0].numel()


def crkd(device: torch.device) -> Iterator[Comparison]:
    """CRKD between any two maps, and between maps that nearly agree."""
    batch, channels, side = MAPS
    draw = generator("crkd")
    teacher, student, noise = torch.randn(3, batch, channels, side, side, generator=draw)
    teacher, student = teacher.relu().to(device), student.relu().to(device)
    near = teacher + 1e-3 * noise.to(device)
    loss = ChannelRelation(channels, channels, adapter="none")
    shape = f"B {batch}, K {channels}, {side}×{side}"
    for name, point in {"crkd": student, "crkd near the teacher": near}.items():
        yield compare(
            name,
            shape,
            [point],
            lambda point: loss(point, teacher),
            lambda point: literal_channels(point, teacher),
            lambda point: literal_channels_by_image(point, teacher),
            repeats=3,
        )


def literal_relations(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Distances over their mean, and cosines, from the B×B×D differences."""
    differences = rows[None] - rows[:, None]
    squares = differences.square().sum(2).clamp(min=1e-12)
    distances = squares.sqrt() * (1 - torch.eye(len(rows), dtype=rows.dtype, device=rows.device))
    directions = functional.normalize(differences, dim=2)
    return distances / distances[distances > 0].mean(), directions @ directions.mT


def literal_images(student: Tensor, teacher: Tensor) -> Tensor:
    """DRKD as in the code of relational knowledge distillation."""
    distances, angles = literal_relations(student)
    with torch.no_grad():
        their_distances, their_angles = literal_relations(teacher.to(student.dtype))
    near = functional.smooth_l1_loss(distances, their_distances)
    return 25 * near + 50 * functional.smooth_l1_loss(angles, their_angles)


def drkd(device: torch.device) -> Iterator[Comparison]:
    """DRKD on embeddings after a ReLU, and where half of the images are nearly the other half."""
    batch, size, teacher_size = EMBEDDINGS
    draw = generator("drkd")
    student = torch.randn(batch, size, generator=draw).relu().to(device)
    teacher = torch.randn(batch, teacher_size, generator=draw).relu().to(device)
    noise = torch.randn(2, batch, max(size, teacher_size), generator=draw).to(device)
    halves = torch.arange(batch, device=device) % (batch // 2)
    views = [
        rows[halves] + 1e-3 * part[:, : rows.shape[1]] for rows, part in zip((student, teacher), noise, strict=True)
    ]
    loss = ImageRelation()
    shape = f"B {batch}, D {size} and {teacher_size}"
    for name, (point, other) in {"drkd": (student, teacher), "drkd near duplicates": views}.items():

        def literal(point: Tensor, other: Tensor = other) -> Tensor:
            return literal_images(point, other)

        yield compare(name, shape, [point], lambda point, other=other: loss(point, other), literal, literal, repeats=3)


#: Comparisons by the name that ``--only`` takes: those with a memory bank for each of its sizes, and the others.
OF_BANKS = {"ccd": ccd, "crp": crp}
OTHERS = {"crkd": crkd, "drkd": drkd, **PEERS}


def _cases(names: Sequence[str], counts: Sequence[int], device: torch.device) -> Iterator[Comparison]:
    for count in counts:
        for name, of_bank in OF_BANKS.items():
            if name in names:
                yield from of_bank(count, device)
    for name, comparisons in OTHERS.items():
        if name in names:
            yield from comparisons(device)


def main() -> None:
    names = [*OF_BANKS, *OTHERS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the comparisons to this file")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_015, 1_000_000], help="sizes N of the banks")
    parser.add_argument("--only", choices=names, nargs="+", default=names, help="these losses alone")
    arguments = parser.parse_args()
    done = []
    for case in _cases(arguments.only, arguments.rows, torch.device(arguments.device)):
        print(line(case), flush=True)
        done.append(asdict(case))
    if arguments.json:
        arguments.json.write_text(json.dumps(done, indent=1) + "\n")


if __name__ == "__main__":
    main()
