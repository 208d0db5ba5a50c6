"""A study on a machine that is lent for minutes: as many of its cells as fit, and what they measured as archives.

    python -m benchmarks.device_study PLAN --root DIR --out FOLDER --archives DIR --seconds 300 [key=value …]

Cells that are not finished in time stay unfinished. The archives hold every file of the study but weights and
checkpoints. Unpacked into one folder they are a study whose report ``preceptor.report.study_report`` writes.
"""

from __future__ import annotations

import argparse
import re
import tarfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from preceptor.api.studies import prepare_study
from preceptor.study.engines import Engine
from preceptor.study.outcome import Outcome
from preceptor.study.scheduler import Study, run_cells

LEFT_OUT = (".pt", ".safetensors", ".lock")  # how names end
FOLDERS_LEFT_OUT = {"tensorboard", "checkpoints"}
FOLD = re.compile(r"-fold(\d+)-")
ARCHIVES = 5  # compressed side by side; the files of a fold, much alike, lie in the same one


class OutOfTimeError(Exception):
    """The study's time is over."""


def run_until(asked: argparse.Namespace) -> Study:
    """Run the study's cells until the last has ended or the time is over, without reports of single runs."""
    ends = time.monotonic() + asked.seconds
    prepared = prepare_study(asked.plan, asked.overrides, root=asked.root, out=asked.out, workers=asked.workers)

    def watch(study: Study, engine: Engine, ended: list[Outcome]) -> None:
        if time.monotonic() > ends:
            raise OutOfTimeError

    try:
        run_cells(prepared.study, prepared.engine, prepared.threads, cache=asked.cache, watch=watch)
    except OutOfTimeError:
        print(f"{asked.seconds:.0f} s are over")
    return prepared.study


def archive(folder: Path, archives: Path) -> list[Path]:
    """All that is worth carrying home, in a few archives."""
    archives.mkdir(parents=True, exist_ok=True)
    groups: list[list[Path]] = [[] for _ in range(ARCHIVES)]
    for file in sorted(folder.rglob("*"), key=lambda file: (file.name, file)):  # what is alike side by side
        place = file.relative_to(folder)
        if file.is_file() and not file.name.endswith(LEFT_OUT) and not FOLDERS_LEFT_OUT & set(place.parts):
            fold = FOLD.search(place.as_posix())
            groups[int(fold.group(1)) % ARCHIVES if fold else 0].append(place)
    targets = [archives / f"{folder.name}-{number}.tar.xz" for number in range(ARCHIVES)]
    with ProcessPoolExecutor(ARCHIVES) as pool:
        return list(pool.map(_pack, groups, [folder] * ARCHIVES, targets))


def _pack(places: list[Path], folder: Path, target: Path) -> Path:
    with tarfile.open(target, "w:xz", preset=1) as packed:
        for place in places:
            packed.add(folder / place, arcname=Path(folder.name) / place)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--archives", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--workers", type=int, default=14)
    asked = parser.parse_intermixed_args()
    began = time.monotonic()
    study = run_until(asked)
    counts = {state: study.count(state) for state in ("done", "failed", "pending")}
    print(
        f"{asked.out.name}: {counts} of {len(study.matrix.cells)} cells in {time.monotonic() - began:.0f} s", flush=True
    )
    for planned in study.matrix.runs.values():
        outcome = study.outcomes[planned.identity]
        if outcome.error:
            print(f"  {planned.recipe.name}, fold {planned.fold}: {outcome.error[-300:]}")
        elif outcome.seconds:
            print(f"  {planned.recipe.name}, fold {planned.fold}: {outcome.seconds:.1f} s")
    for file in archive(asked.out, asked.archives):
        print(f"  {file.name}: {file.stat().st_size / 2**20:.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
