"""Literal forms of the peer methods' losses, against those that are used.

Masks and means of a map's size for each class (IFVD), pairs of all places (SKD), products of two maps before their sum
over places (FSP), projectors of the published width (SemCKD), 21 passes of the classifier (SDD), a target that is
masked by subtracting 1000 (DKD), and a temperature sought by L-BFGS.
"""

from __future__ import annotations

import copy
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.compare import Comparison, compare
from benchmarks.measure import extra_memory, seconds
from preceptor.evaluation.calibration import fit_temperature
from preceptor.losses.dkd import DecoupledKD
from preceptor.losses.fsp import SolutionFlow
from preceptor.losses.ifvd import IntraClassVariation
from preceptor.losses.sdd import ScaleDecoupled
from preceptor.losses.semckd import SemanticCalibration
from preceptor.losses.skd_pairwise import PairwiseSimilarity
from preceptor.utils.randomness import generator

#: B, K, classes and side of the maps.
IFVD = (4, 256, 8, 28)
#: B, K and side.
SKD = (2, 128, 48)
#: B, K of two points, side.
FSP = (8, 512, 1024, 7)
#: B, channels of the student's and the teacher's stages, side of the first, width of the projectors.
SEMCKD = (16, (64, 128), (128, 256), 14, 64)
#: B, K of student and teacher, side, classes.
SDD = (32, 512, 2048, 7, 7)
#: B and classes.
DKD = (512, 100)
#: Images, classes and steps of L-BFGS.
TEMPERATURE = (2000, 7, 200)


def ifvd(device: torch.device) -> Iterator[Comparison]:
    """Two masks of the map's size for each class, against memberships and two matrix products."""
    batch, channels, classes, side = IFVD
    draw = generator("ifvd")
    student, teacher = torch.randn(2, batch, channels, side, side, generator=draw).to(device)
    masks = torch.randint(classes, (batch, 8 * side, 8 * side), generator=draw).to(device)
    loss = IntraClassVariation(classes)

    def cosines(features: Tensor) -> Tensor:
        labels = functional.interpolate(masks[:, None].float(), features.shape[2:]).expand_as(features)
        centres = features
        for label in range(classes):
            inside = (labels == label).to(features.dtype)
            mean = (inside * features).sum((2, 3)) / (inside.sum((2, 3)) + 1e-6)
            centres = (1 - inside) * centres + inside * mean[:, :, None, None]
        return functional.cosine_similarity(features, centres, dim=1)

    def literal(point: Tensor) -> Tensor:
        return functional.mse_loss(cosines(point), cosines(teacher.to(point.dtype)))

    shape = f"B {batch}, K {channels}, C {classes}, {side}×{side}"
    yield compare("ifvd", shape, [student], lambda point: loss([point], [teacher], masks), literal, literal, repeats=3)


def skd(device: torch.device) -> Iterator[Comparison]:
    """Pairs of all places, against pairs of pooled nodes, which is the method; errors are those of the latter."""
    batch, channels, side = SKD
    student, teacher = torch.randn(2, batch, channels, side, side, generator=generator("skd")).to(device)
    loss = PairwiseSimilarity()

    def similarity(nodes: Tensor) -> Tensor:
        directions = functional.normalize(nodes.flatten(2), dim=1)
        return directions.mT @ directions

    def of_places(point: Tensor) -> Tensor:
        return functional.mse_loss(similarity(point), similarity(teacher.to(point.dtype)))

    def of_nodes(point: Tensor) -> Tensor:
        ours, theirs = (functional.max_pool2d(side, 2) for side in (point, teacher.to(point.dtype)))
        return functional.mse_loss(similarity(ours), similarity(theirs))

    shape = f"B {batch}, K {channels}, {side}×{side}"
    yield compare(
        "skd, all places", shape, [student], lambda point: loss([point], [teacher]), of_places, of_nodes, repeats=3
    )


def fsp(device: torch.device) -> Iterator[Comparison]:
    """A product of B×K₁×K₂×HW entries, against the factors of the difference."""
    batch, first, second, side = FSP
    draw = generator("fsp")
    points = [torch.randn(2, batch, k, side, side, generator=draw).relu().to(device) for k in (first, second)]
    student, teacher = zip(*points, strict=True)
    loss = SolutionFlow((first, second), (first, second))

    def matrix(early: Tensor, late: Tensor) -> Tensor:
        return (early.flatten(2)[:, :, None] * late.flatten(2)[:, None]).mean(3)

    def literal(early: Tensor, late: Tensor) -> Tensor:
        return functional.mse_loss(matrix(early, late), matrix(*(point.to(early.dtype) for point in teacher)))

    shape = f"B {batch}, K {first} and {second}, {side}×{side}"
    yield compare("fsp", shape, student, lambda *points: loss(list(points), list(teacher)), literal, literal, repeats=2)


def semckd(device: torch.device) -> Iterator[Comparison]:
    """Projectors of the published width, against narrower ones (another function; errors are those of the latter)."""
    batch, ours, theirs, side, width = SEMCKD
    draw = generator("semckd")
    student, teacher = (
        [torch.randn(batch, k, side >> at, side >> at, generator=draw).relu().to(device) for at, k in enumerate(widths)]
        for widths in (ours, theirs)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wide = SemanticCalibration(ours, theirs, batch, normalise_rows=True).to(device)
        narrow = SemanticCalibration(ours, theirs, batch, normalise_rows=True, middle_width=width).to(device)
    precise = copy.deepcopy(narrow).double()

    def weights(loss: nn.Module) -> float:
        return sum(parameter.numel() for parameter in loss.parameters()) / 1e6

    yield compare(
        f"semckd, {weights(wide):.1f} M -> {weights(narrow):.1f} M",
        f"B {batch}, K {ours} and {theirs}, {side}×{side}",
        student,
        lambda *points: narrow(list(points), teacher),
        lambda *points: wide(list(points), teacher),
        lambda *points: precise(list(points), [point.double() for point in teacher]),
        repeats=3,
    )


def sdd(device: torch.device) -> Iterator[Comparison]:
    """A pass of each classifier for every region, against one for all 21."""
    batch, ours, theirs, side, classes = SDD
    draw = generator("sdd")
    student, teacher = (torch.randn(batch, k, side, side, generator=draw).relu().to(device) for k in (ours, theirs))
    labels = torch.randint(classes, (batch,), generator=draw).to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifiers = nn.Linear(ours, classes).to(device), nn.Linear(theirs, classes).to(device)
    loss = ScaleDecoupled()

    def regions(feature_map: Tensor, classifier: nn.Module) -> list[Tensor]:
        layer = copy.deepcopy(classifier).to(feature_map.dtype)
        fine = functional.adaptive_avg_pool2d(feature_map, 4)
        pooled = [feature_map.mean((2, 3), keepdim=True), functional.adaptive_avg_pool2d(fine, 2), fine]
        return [layer(part[:, :, y, x]) for part in pooled for y in range(part.shape[2]) for x in range(part.shape[3])]

    def literal(point: Tensor) -> Tensor:
        rows, targets = regions(point, classifiers[0]), regions(teacher.to(point.dtype), classifiers[1])
        whole = targets[0].argmax(1) == labels
        terms = []
        for row, target in zip(rows, targets, strict=True):
            weight = torch.where((target.argmax(1) == labels) == whole, 1.0, 2.0)
            p, q = (target / 4).softmax(1).detach(), (row / 4).log_softmax(1)
            terms.append((weight * (p * (p.log() - q)).sum(1)).mean())
        return 16 * torch.stack(terms).mean()

    shape = f"B {batch}, K {ours} and {theirs}, {side}×{side}, C {classes}"
    yield compare("sdd", shape, [student], lambda point: loss(point, teacher, *classifiers, labels), literal, literal)


def dkd(device: torch.device) -> Iterator[Comparison]:
    """Sums of masked softmaxes and a target pushed down by 1000, against logarithms without the target's column."""
    batch, classes = DKD
    draw = generator("dkd")
    student, teacher = 3 * torch.randn(2, batch, classes, generator=draw).to(device)
    labels = torch.randint(classes, (batch,), generator=draw).to(device)
    loss = DecoupledKD()

    def literal(point: Tensor) -> Tensor:
        target = functional.one_hot(labels, classes).to(point.dtype)
        sides = []
        for logits in (point, teacher.to(point.dtype)):
            p = (logits / 4).softmax(1)
            binary = torch.stack([(p * target).sum(1), (p * (1 - target)).sum(1)], 1)
            sides.append((binary, logits / 4 - 1000 * target))
        (binary, rest), (other_binary, other_rest) = sides
        first = functional.kl_div(binary.log(), other_binary, reduction="batchmean")
        second = functional.kl_div(rest.log_softmax(1), other_rest.softmax(1), reduction="batchmean")
        return 16 * (first + 8 * second)

    shape = f"B {batch}, C {classes}"
    yield compare("dkd", shape, [student], lambda point: loss(point, teacher, labels), literal, literal)


def temperature(device: torch.device) -> Iterator[Comparison]:
    """200 steps of L-BFGS from 1.5 at a rate of .01, against bisection; the error is that of the temperature."""
    images, classes, steps = TEMPERATURE
    draw = generator("temperature")
    labels = torch.randint(classes, (images,), generator=draw)
    logits = 12 * (torch.randn(images, classes, generator=draw) + functional.one_hot(labels, classes)).double()
    rows, targets = logits.numpy(), labels.numpy()

    def slope(inverse: float) -> float:
        p = (logits * inverse).softmax(1)
        return float(((p * logits).sum(1) - logits.gather(1, labels[:, None])[:, 0]).mean())

    def literal() -> float:
        value = torch.full((), 1.5, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([value], lr=0.01, max_iter=steps)

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = functional.cross_entropy(logits / value, labels)
            loss.backward()
            return loss

        optimiser.step(closure)  # type: ignore[arg-type]
        return value.item()

    best, fitted = 1 / brentq(slope, 1e-4, 1e2, xtol=1e-15), fit_temperature(rows, targets)
    slow, quick = seconds(literal, lambda: fit_temperature(rows, targets), repeats=3)
    large, small = extra_memory(literal, torch.device("cpu")), _numpy_memory(lambda: fit_temperature(rows, targets))
    yield Comparison(
        name=f"temperature {literal():.2f} -> {fitted:.2f}",
        shape=f"N {images}, C {classes}",
        speedup=slow / quick,
        memory_ratio=large / small,
        max_rel_error_value=abs(fitted - best) / best,
        max_rel_error_grad=float(np.abs(slope(1 / fitted)) / np.abs(slope(1.0))),
        literal_seconds=slow,
        seconds=quick,
        literal_bytes=large,
        bytes=small,
    )


def _numpy_memory(function: Callable[[], object]) -> int:
    """Bytes that arrays hold at the most during a call, beyond those that were there before."""
    tracemalloc.start()
    function()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


#: Comparisons by the name that ``benchmarks.losses --only`` takes.
PEERS: dict[str, Callable[[torch.device], Iterator[Comparison]]] = {
    "ifvd": ifvd,
    "skd": skd,
    "fsp": fsp,
    "semckd": semckd,
    "sdd": sdd,
    "dkd": dkd,
    "temperature": temperature,
}
