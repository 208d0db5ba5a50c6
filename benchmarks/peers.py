"""Preceptor beside other implementations, in turns in one process: losses and whole training steps.

    pip install "preceptor[peers]"
    python -m benchmarks.peers [key=value …] [--json FILE] [--steps N] [--small] [--only rkd crd loop crckd ssd_kd]

``rkd`` and ``crd`` are torchdistill's losses (forward and backward; CRD with its sampling and the update of both
memories) beside ours. ``loop`` is a plain PyTorch loop with the same networks, ``crckd`` and ``ssd_kd`` are steps of
the released code (:mod:`benchmarks.literal_steps`), beside the engine's own step, which also loads, augments and logs.
``ratio`` is the peer's time over ours: above 1 ours is faster. On a CPU times are CPU time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.literal_steps import LiteralCRCKD, LiteralSSDKD, PlainLoop, Size
from benchmarks.losses import EMBEDDINGS, NEGATIVES, SIZE, TAU, Setting
from benchmarks.measure import step_seconds
from benchmarks.step import engine_step, prepared_training
from preceptor.losses.ccd import ContrastiveRepresentation
from preceptor.losses.image_relation import ImageRelation
from preceptor.recipes.overrides import parse_override
from preceptor.recipes.resolve import resolve
from preceptor.utils.randomness import generator


@dataclass(frozen=True)
class Pair:
    """One comparison; ``ratio`` = peer_seconds / seconds."""

    name: str
    peer: str
    shape: str
    peer_seconds: float
    seconds: float
    ratio: float


@dataclass(frozen=True)
class Scale:
    """How large everything is: as in the papers, or small enough for a test."""

    steps: int
    batch: int
    side: int
    rows: int
    negatives: int
    embeddings: tuple[int, int, int]
    loop: tuple[str, str]  # student and teacher
    crckd: str
    ssd_kd: tuple[str, str]
    changes: tuple[str, ...] = ()  # of the engine's recipe, such as precision.teacher=bf16+folded


FULL = Scale(
    9,
    16,
    112,
    8000,
    NEGATIVES,
    EMBEDDINGS,
    ("mobilenetv2_100", "resnet18"),
    "densenet121",
    ("mobilenetv2_100", "resnet50"),
)
SMALL = Scale(
    1,
    8,
    32,
    1000,
    40,
    (12, 30, 40),
    ("test_efficientnet", "test_resnet"),
    "test_resnet",
    ("test_efficientnet", "test_resnet"),
)


def rkd(scale: Scale, device: torch.device) -> Pair:
    """Relations between the embeddings of a batch (Park et al. 2019)."""
    from torchdistill.losses.mid_level import RKDLoss

    batch, size, teacher_size = scale.embeddings
    draw = generator("rkd")
    student = torch.randn(batch, size, generator=draw).relu().to(device).requires_grad_()
    teacher = torch.randn(batch, teacher_size, generator=draw).relu().to(device)
    theirs, ours = RKDLoss("s", "t", 25, 50, "mean"), ImageRelation().to(device)
    outputs = {"s": {"output": student}}, {"t": {"output": teacher}}
    peer, own = _backward(lambda: theirs(*outputs)), _backward(lambda: ours(student, teacher))
    return _pair("rkd", "torchdistill", f"B {batch}, D {size} and {teacher_size}", peer, own, scale.steps)


def crd(scale: Scale, device: torch.device) -> Pair:
    """Contrastive representation distillation (Tian et al. 2020) with sampling and the update of both memories."""
    from torchdistill.losses.mid_level import CRDLoss

    class Mended(CRDLoss):  # type: ignore[misc]
        """Its sampler asks for an attribute ``prob``, which is called ``probs``."""

        @property
        def prob(self) -> Tensor:
            return self.probs  # type: ignore[no-any-return]

    at = Setting.of(scale.rows, device, 64 if scale.steps > 1 else scale.batch)
    student, teacher = at.student.clone().requires_grad_(), at.teacher.clone().requires_grad_()
    theirs = Mended("n", "e", "n", SIZE, scale.rows, scale.negatives, scale.rows, TAU).to(device)
    ours = ContrastiveRepresentation(scale.negatives, TAU, row_labels=at.labels).to(device)
    io = {"n": {"output": student}, "e": {"input": {"pos_idx": at.rows}}}, {"n": {"output": teacher}}
    draw = generator(1, device=device)

    def own() -> Tensor:
        value: Tensor = ours(student, teacher, at.rows, at.student_bank, at.teacher_bank, draw)
        at.student_bank.update(at.rows, student.detach())
        at.teacher_bank.update(at.rows, teacher.detach())
        return value

    shape = f"N {scale.rows}, B {len(student)}, d {SIZE}, kN {scale.negatives}"
    return _pair("crd", "torchdistill", shape, _backward(lambda: theirs(*io)), _backward(own), scale.steps)


def loop(scale: Scale, device: torch.device) -> Pair:
    """Distillation of logits: the engine's step beside a plain loop, each with its augmentation."""
    student, teacher = scale.loop
    networks = {"networks.teacher.backbone": teacher, "networks.student.backbone": student}
    size = Size(scale.batch, scale.side, scale.rows, student, teacher, device)
    return _engine("loop", "plain PyTorch loop", "kd", networks, PlainLoop(size), size, scale)


def crckd(scale: Scale, device: torch.device) -> Pair:
    """CRCKD with all of its terms."""
    networks = {"networks.student.backbone": scale.crckd, "preset": "official"}
    size = Size(scale.batch, scale.side, scale.rows, scale.crckd, scale.crckd, device)
    return _engine("crckd", "released step", "crckd", networks, LiteralCRCKD(size), size, scale)


def ssd_kd(scale: Scale, device: torch.device) -> Pair:
    """SSD-KD's student with four views of every image."""
    student, teacher = scale.ssd_kd
    networks = {"networks.teacher.backbone": teacher, "networks.student.backbone": student}
    size = Size(scale.batch, scale.side, scale.rows, student, teacher, device)
    return _engine("ssd_kd", "released step", "ssd_kd", networks, LiteralSSDKD(size), size, scale)


PAIRS: dict[str, Callable[[Scale, torch.device], Pair]] = {
    "rkd": rkd,
    "crd": crd,
    "loop": loop,
    "crckd": crckd,
    "ssd_kd": ssd_kd,
}


def _engine(
    name: str,
    peer: str,
    recipe: str,
    changes: dict[str, str],
    literal: Callable[[], object],
    size: Size,
    scale: Scale,
) -> Pair:
    settings: dict[str, Any] = {"image_size": size.side, "batch_size": size.batch, **changes}
    settings |= dict(map(parse_override, scale.changes))
    with tempfile.TemporaryDirectory() as folder:
        training = prepared_training(resolve(recipe, settings), Path(folder), images=max(size.batch * 8, 300))
        pair = _pair(name, peer, _shape(size), literal, engine_step(training), scale.steps)
    return pair


def _shape(size: Size) -> str:
    networks = size.student if size.student == size.teacher else f"{size.teacher} → {size.student}"
    return f"{networks}, {size.side} px, B {size.batch}"


def _pair(
    name: str, peer: str, shape: str, theirs: Callable[[], object], own: Callable[[], object], steps: int
) -> Pair:
    peer_seconds, seconds = step_seconds(theirs, own, repeats=steps)
    return Pair(name, peer, shape, peer_seconds, seconds, peer_seconds / seconds)


def _backward(loss: Callable[[], Tensor]) -> Callable[[], None]:
    return lambda: loss().sum().backward()  # type: ignore[no-untyped-call]


def compared(names: list[str], scale: Scale, device: torch.device) -> Iterator[Pair]:
    """Yield the comparisons that are asked for, in order."""
    for name in names:
        yield PAIRS[name](scale, device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", type=int, help="timed turns of each")
    parser.add_argument("--only", nargs="+", choices=list(PAIRS), default=list(PAIRS))
    parser.add_argument("--small", action="store_true", help="sizes of a test")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the engine's recipe")
    options = parser.parse_args()
    scale = replace(SMALL if options.small else FULL, changes=tuple(options.overrides))
    if options.steps:
        scale = replace(scale, steps=options.steps)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pairs = []
    for pair in compared(options.only, scale, device):
        pairs.append(pair)
        print(
            f"{pair.name:<7} {pair.peer:<20} {pair.shape:<52} {pair.peer_seconds * 1e3:9.1f} ms -> "
            f"{pair.seconds * 1e3:8.1f} ms ({pair.ratio:.1f}x)",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps([asdict(pair) for pair in pairs], indent=2) + "\n")


if __name__ == "__main__":
    main()
