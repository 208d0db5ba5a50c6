"""All checks that need a GPU, in one run of at most ten minutes; benchmarks/device.sh packs and starts it.

    python -m benchmarks.device --json FILE [--minutes 9.5] [--parts PART …] [--cases NAME …] [--modes MODE …]
        [--data HAM10000] [--weights FOLDER]

exactness: value and gradient of every registered loss in float32 on the GPU against float64 on the CPU;
networks: bare backbones by memory format, number format, and with their kernels launched as one graph;
steps: of ``crckd`` (DenseNet121, 112 and 224 px), ``ssd_kd`` and ``kd`` (ResNet50 → MobileNetV2, ``kd`` also at 64 px
    under an EfficientNet-Lite2) and ``kd_ml_v3`` (U-Nets) in float32 and bf16, with and without CUDA graphs, beside
    those of the released code or of a plain loop, and beside the bare networks: images a second, share of the time in
    which the GPU computes, peak memory; the last mode also without asking for algorithms that repeat themselves;
tests: the engine's, whose runs take the GPU;
compiled: the steps again, compiled, where enough time is left;
epochs: with the rest of the time, epochs of HAM10000.

Each part stands by itself: what fails is in the JSON as its error, and the rest runs. The file is written again after
every part, so that a run cut short leaves what it measured. ``--dry-run`` does all of it small, on a CPU too.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.device_exactness import exactness
from benchmarks.device_networks import networks
from benchmarks.literal_steps import LiteralCRCKD, LiteralSSDKD, PlainLoop, Size
from benchmarks.measure import seconds_in_a_row
from benchmarks.step import engine_step, floor_step, objectives_alone, prepared_training, views_alone
from preceptor.recipes.resolve import resolve
from preceptor.training.distributed import repeatable
from preceptor.utils.errors import PreceptorWarning

TESTS = ("tests/training", "tests/runs/test_whole_runs.py", "tests/runs/test_resume.py", "tests/runs/test_precision.py")
DRY_TESTS = ("tests/training/test_mixup.py",)
EAGER, GRAPHED, COMPILED = ("float32", "bf16"), ("float32+graphed", "bf16+graphed"), "float32+compiled"
PARTS = ("exactness", "networks", "steps", "tests", "compiled", "epochs")
PROFILED = 5  # steps
IMAGES = 300  # of the phantom that steps are timed on


@dataclass(frozen=True)
class Case:
    """One recipe at one size, and the step to compare with: the released one, where there is one to port, or a plain
    loop's."""

    name: str
    recipe: str
    changes: dict[str, str]
    side: int
    batch: int
    literal: Callable[[Size], Callable[[], object]] | None = None
    networks: tuple[str, str] = ("", "")  # student and teacher of the released step


def cases(dry: bool) -> list[Case]:
    """The steps to time; small ones for a dry run."""
    dense, large, mobile, unet, lite = (
        ("test_resnet", "test_resnet", "test_efficientnet", "test_resnet", "test_resnet")
        if dry
        else ("densenet121", "resnet50", "mobilenetv2_100", "resnet50", "tf_efficientnet_lite2")
    )
    crckd = {"networks.student.backbone": dense, "networks.student.pretrained": "none", "preset": "official"}
    ssd = {"networks.teacher.backbone": large, "networks.student.backbone": mobile}
    unets = {"teacher_backbone": unet, "backbone": mobile, "pretrained": "none", "teacher_pretrained": "none"}
    small = {"networks.teacher.backbone": lite, "networks.student.backbone": mobile}
    sides, batches = ((32,), (8, 8)) if dry else ((112, 224), (64, 32))
    return [
        Case("kd small", "kd", small, 32 if dry else 64, batches[0], PlainLoop, (mobile, lite)),
        *(Case(f"crckd {side} px", "crckd", crckd, side, batches[0], LiteralCRCKD, (dense, dense)) for side in sides),
        Case(f"ssd_kd {sides[-1]} px", "ssd_kd", ssd, sides[-1], batches[1], LiteralSSDKD, (mobile, large)),
        Case(f"kd {sides[-1]} px", "kd", ssd, sides[-1], batches[0], PlainLoop, (mobile, large)),
        Case(f"kd_ml_v3 U-Nets {sides[-1]} px", "kd_ml_v3", {**unets, "task": "segmentation"}, sides[-1], batches[1]),
    ]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cuda = torch.cuda.is_available()
    return {
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "capability": torch.cuda.get_device_capability() if cuda else None,
        "threads": torch.get_num_threads(),
    }


def engine_tests(dry: bool, seconds: float) -> dict[str, Any]:
    """Run the engine's tests in a process of their own."""
    chosen = DRY_TESTS if dry else (*TESTS, "-n12")
    command = [sys.executable, "-m", "pytest", "-vv", "--tb=short", "-p", "no:cacheprovider", *chosen]
    began = time.perf_counter()
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        code, output = result.returncode, result.stdout
    except subprocess.TimeoutExpired as cut:
        code, output = None, (cut.stdout or b"").decode(errors="replace")
    lines = output.splitlines()
    verdicts = {word: [line for line in lines if word in line] for word in ("PASSED", "FAILED", "ERROR")}
    return {
        "exit": code,
        "seconds": time.perf_counter() - began,
        "passed": len(verdicts["PASSED"]),
        "failed": [*verdicts["FAILED"], *verdicts["ERROR"]],  # also of a run that was cut off
        "end": output[-6000:],
    }


def time_step(step: Callable[[], object], images: int, repeats: int) -> dict[str, float]:
    """Images a second, share of the time in which the GPU computes, and peak memory of some steps in a row."""
    cuda = torch.cuda.is_available()
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()  # before the first step, since the timed ones must not ask for memory anew
    for _ in range(3):
        step()
    if cuda:
        torch.cuda.reset_peak_memory_stats()  # of what is reserved, since graphs keep memory of their own
    seconds = seconds_in_a_row(step, repeats)
    figures = {"seconds": seconds, "images_per_second": images / seconds}
    if cuda:
        figures |= {"peak_GiB": torch.cuda.max_memory_reserved() / 2**30, "busy": busy_share(step, PROFILED)}
    return figures


def busy_share(step: Callable[[], object], repeats: int) -> float:
    """The share of the time of some steps in which a kernel runs or memory is copied, from the profiler's events."""
    with profile(activities=[ProfilerActivity.CUDA]) as record:
        began = time.perf_counter_ns()
        for _ in range(repeats):
            step()
        torch.cuda.synchronize()
        taken = time.perf_counter_ns() - began
    events = record.profiler.kineto_results.events()  # type: ignore[union-attr]
    spans = sorted((event.start_ns(), event.start_ns() + event.duration_ns()) for event in events)
    return covered(spans) / taken


def covered(spans: list[tuple[int, int]]) -> int:
    """The length of the union of sorted intervals.

    >>> covered([(0, 4), (2, 5), (7, 8)])
    6
    """
    total = end = 0
    for start, stop in spans:
        total += max(stop - max(start, end), 0)
        end = max(end, stop)
    return total


def time_case(case: Case, mode: str, repeats: int, shared: Path, fastest: bool = False) -> dict[str, float]:
    """The engine's step in one mode for all networks, and beside it (``networks_…``) the bare networks on ready images;
    learning ones cannot be folded. And the step's objectives, together and each by itself, and its views.

    Args:
        shared: folder of the phantoms, one for each side.
        fastest: takes torch's fastest algorithms, not those that repeat themselves, with which runs are trained.
    """
    settings = {"image_size": case.side, "batch_size": case.batch, **case.changes}
    recipe = resolve(case.recipe, settings)
    recipe = resolve(case.recipe, {**settings, "precision": dict.fromkeys(recipe.networks, mode)})
    with tempfile.TemporaryDirectory() as folder:
        training = prepared_training(recipe, Path(folder), IMAGES, shared)
        with nullcontext() if fastest else repeatable(torch.cuda.device_count()):
            engine = engine_step(training)
            figures = time_step(engine, case.batch, repeats)
            floor = time_step(floor_step(training), case.batch, repeats)
            alone = {**objectives_alone(training, engine), "views": views_alone(training)}
            figures |= {f"{name}_seconds": seconds_in_a_row(work, repeats) for name, work in alone.items()}
        return {**figures, **{f"networks_{name}": value for name, value in floor.items()}}


def time_literal(case: Case, repeats: int) -> dict[str, float]:
    """The released step, or the plain loop's, on the same device in float32."""
    assert case.literal is not None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = Size(case.batch, case.side, 8000, *case.networks, device)
    return time_step(case.literal(size), case.batch, repeats)


def epochs(data: Path, weights: Path | None, seconds: float, dry: bool) -> dict[str, Any]:
    """CRCKD on HAM10000 for as many epochs as fit; the first one says how many."""
    from preceptor import train

    start = next(iter(sorted(weights.glob("*headless*.safetensors"))), None) if weights is not None else None
    overrides = {
        "image_size": 32 if dry else 96,
        "batch_size": 64,
        "networks.student.backbone": "test_efficientnet" if dry else "mobilenetv2_100",
        "networks.student.pretrained": "none" if dry or start is None else str(start),
        "precision": "bf16" if torch.cuda.is_available() else "float32",
    }
    reader = "phantom" if dry else "ham10000"
    with tempfile.TemporaryDirectory() as folder:

        def run(name: str, count: int) -> Any:
            settings = {**overrides, "epochs": count}
            return train("crckd", data=reader, root=data, out=Path(folder) / name, overrides=settings)

        began = time.perf_counter()
        first = run("first", 1)
        pace = float(first.history["seconds"].iloc[-1])
        left = seconds - (time.perf_counter() - began)
        count = max(1, min(80, int(0.7 * left / pace)))
        longer = run("longer", count)
        return {
            "recipe": "crckd",
            "start": "random" if start is None else start.name,
            "epochs": count,
            "seconds_per_epoch": pace,
            "test": {name: network.test for name, network in longer.metrics.networks.items()},
        }


class Report:
    """The figures so far, written after every part.

    Args:
        seconds: after which no part begins.
    """

    def __init__(self, file: Path, seconds: float) -> None:
        self.file, self.began, self.seconds = file, time.perf_counter(), seconds
        self.figures: dict[str, Any] = {"machine": machine()}

    @property
    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.began)

    def add(self, name: str, part: Callable[[], Any], least: float = 10.0) -> None:
        """Run a part if at least so many seconds are left; its error instead of its figures where it fails."""
        began = time.perf_counter()
        if self.left < least:
            self.figures[name] = {"skipped": f"{self.left:.0f} s were left"}
        else:
            try:
                self.figures[name] = part()
            except Exception as error:  # whatever is wrong with one part, the others are worth their time
                self.figures[name] = {"error": repr(error)[:500], "trace": traceback.format_exc()[-1500:]}
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        print(f"{name}: {time.perf_counter() - began:.1f} s, {self.left:.0f} s left", flush=True)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.figures, indent=2, default=str) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.5)
    parser.add_argument("--data", type=Path, help="folder of HAM10000")
    parser.add_argument("--weights", type=Path, help="folder of ImageNet weights")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--cases", nargs="+", help="steps whose names begin so; all of them if not given")
    parser.add_argument("--modes", nargs="+", default=[*EAGER, *(GRAPHED if torch.cuda.is_available() else ())])
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=PreceptorWarning)  # teachers of random weights lie in no run
    dry, repeats = options.dry_run, 2 if options.dry_run else 10
    report = Report(options.json, 60 * options.minutes)
    if "exactness" in options.parts:
        report.add("exactness", lambda: exactness(dry))
    if "networks" in options.parts:
        report.add("networks", lambda: networks(dry))
    with tempfile.TemporaryDirectory() as folder:

        def steps(case: Case, mode: str, least: float = 10.0) -> None:
            report.add(f"{case.name}, {mode}", lambda: time_case(case, mode, repeats, Path(folder)), least)

        def with_fastest(case: Case) -> None:
            mode = options.modes[-1]
            report.add(f"{case.name}, {mode}, fastest", lambda: time_case(case, mode, repeats, Path(folder), True))

        asked = [case for case in cases(dry) if case.name.startswith(tuple(options.cases or [""]))]
        for case in asked if "steps" in options.parts else ():
            for mode in options.modes:
                steps(case, mode)
            with_fastest(case)
            if case.literal is not None:
                other = "plain loop" if case.literal is PlainLoop else "released step"
                report.add(f"{case.name}, {other}", lambda case=case: time_literal(case, repeats))  # type: ignore[misc]
        if "tests" in options.parts:
            report.add("engine tests", lambda: engine_tests(dry, report.left), least=30)
        for case in asked if "compiled" in options.parts and not dry else ():
            steps(case, COMPILED, least=60)
    if options.data is not None and "epochs" in options.parts:
        report.add("epochs", lambda: epochs(options.data, options.weights, report.left - 10, dry), least=40)


if __name__ == "__main__":
    main()
