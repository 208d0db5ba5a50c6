"""The losses against their formulas written out: time, memory and error.

    python -m benchmarks.losses [--json FILE] [--device cuda] [--rows N …]

Each literal form is what one writes straight from the paper: bank rows fetched by index and multiplied by ``bmm``,
centroids averaged anew from the whole bank, an image's negatives chosen on the host. A comparison runs both in turns in
one process, float32, forward and backward; errors are those of the float32 fast form against the literal one in
float64, relative to its value and to the largest entry of its gradient.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.measure import extra_memory, seconds
from preceptor.losses.ccd import ClassContrastive
from preceptor.losses.crp import CategoricalRelation
from preceptor.networks.memory_bank import MemoryBank
from preceptor.randomness import generator

BATCH, SIZE, POSITIVES, NEGATIVES, CLASSES, TAU = 64, 128, 20, 4096, 7, 0.07
#: HAM10000's class sizes as shares.
SHARES = torch.tensor([0.0327, 0.0513, 0.1097, 0.0115, 0.1111, 0.6695, 0.0142])


@dataclass(frozen=True)
class Comparison:
    """Literal over fast: above one the fast form is better. Seconds and bytes are of one call."""

    name: str
    shape: str
    speedup: float
    memory_ratio: float
    max_rel_error_value: float
    max_rel_error_grad: float
    literal_seconds: float
    seconds: float
    literal_bytes: int
    bytes: int


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


Form = Callable[[Tensor, Tensor], Tensor]


def literal_side(query: Tensor, bank: Tensor, index: Tensor, z: Tensor) -> Tensor:
    """One side of CCD, as its equation stands: fetch, multiply, exponentiate, divide, take logarithms."""
    fetched = bank.index_select(0, index.flatten()).view(*index.shape, -1).to(query.dtype)
    x = torch.exp(torch.bmm(fetched, query[:, :, None]).squeeze(2) / TAU) / z.to(query.dtype)
    c = NEGATIVES / len(bank)
    positive, negative = (x / (x + c)).log(), (c / (x + c)).log()
    return -(positive[:, :POSITIVES].sum() / POSITIVES + negative[:, POSITIVES:].sum()) / len(query)


def literal_z(query: Tensor, bank: Tensor, index: Tensor) -> Tensor:
    scores = [bank[chosen].double() @ one.double() for one, chosen in zip(query, index, strict=True)]
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
    yield compare("ccd", shape, at, fast(given), literal, literal)
    yield compare("ccd with sampling", shape, at, fast(sampling), literal_from_host, literal)


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

    yield compare("crp with bank update", f"N {count}, B {BATCH}, d {SIZE}, C {CLASSES}", at, fast, literal, exact)


def compare(name: str, shape: str, at: Setting, fast: Form, literal: Form, exact: Form) -> Comparison:
    """Errors of ``fast`` against ``exact`` in float64 first, while both see the initial banks; then time and memory."""

    def run(form: Form, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        points = [side.to(dtype, copy=True).requires_grad_() for side in (at.student, at.teacher)]
        value = form(*points)
        gradients = torch.autograd.grad(value, points, allow_unused=True)
        return value.detach().double(), torch.stack([g.double() for g in gradients if g is not None])

    value, gradient = run(exact, torch.float64)
    fast_value, fast_gradient = run(fast)
    slow, quick = seconds(lambda: run(literal), lambda: run(fast))
    device = at.student.device
    large, small = extra_memory(lambda: run(literal), device), extra_memory(lambda: run(fast), device)
    return Comparison(
        name=name,
        shape=shape,
        speedup=slow / quick,
        memory_ratio=large / small,
        max_rel_error_value=((fast_value - value).abs() / value.abs()).item(),
        max_rel_error_grad=((fast_gradient - gradient).abs().max() / gradient.abs().max()).item(),
        literal_seconds=slow,
        seconds=quick,
        literal_bytes=large,
        bytes=small,
    )


def _line(case: Comparison) -> str:
    time = f"{case.literal_seconds * 1e3:8.1f} ms -> {case.seconds * 1e3:6.1f} ms ({case.speedup:.1f}x)"
    memory = f"{case.literal_bytes / 1e6:6.1f} MB -> {case.bytes / 1e6:4.1f} MB ({case.memory_ratio:.0f}x)"
    errors = f"error {case.max_rel_error_value:.0e}, gradient {case.max_rel_error_grad:.0e}"
    return f"{case.name:<20} {case.shape:<42} {time}  {memory}  {errors}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the comparisons to this file")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_015, 1_000_000], help="sizes N of the banks")
    arguments = parser.parse_args()
    done = []
    for count in arguments.rows:
        for cases in (ccd, crp):
            for case in cases(count, torch.device(arguments.device)):
                print(_line(case), flush=True)
                done.append(asdict(case))
    if arguments.json:
        arguments.json.write_text(json.dumps(done, indent=1) + "\n")


if __name__ == "__main__":
    main()
