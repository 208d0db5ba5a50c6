"""Kills and full disks: a command that was disturbed, and then continued, must leave what an undisturbed one leaves."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from preceptor.data.phantom import Phantom, write_phantom
from tests.storm.compare import count_differences, files_of
from tests.storm.counts import Counts
from tests.storm.jobs import JOBS, KNOBS, Job, prepare_folder
from tests.storm.process import Disturbance, Ended, load_libraries, random_disturbance, run

#: Disturbances of one run before it is left alone.
_MOST = 8


def storm_of_kills(work: Path, count: int, seed: int, only: tuple[str, ...] = ()) -> Counts:
    """Disturb every job ``count / len(jobs)`` times, rounded up, and compare what it leaves.

    Args:
        work: folder to work in; what is found wanting stays there.
        only: names of jobs; all unless given.
    """
    load_libraries()
    root = work / "phantom"
    if not root.is_dir():
        write_phantom(root, Phantom(**KNOBS))  # type: ignore[arg-type]
    counts = Counts()
    jobs = [job for job in JOBS if not only or job.name in only]
    for job in jobs:
        _storm(job, root, work / job.name.replace(" ", "-"), -(-count // len(jobs)), random.Random(seed), counts)
    return counts


def _storm(job: Job, root: Path, work: Path, count: int, chance: random.Random, counts: Counts) -> None:
    shutil.rmtree(work, ignore_errors=True)
    calm, folder = work / "undisturbed", work / "here"  # all in one place, since recipes hold the paths of stages
    prepare_folder(folder)
    ended = run(job.command(folder, root), folder)
    if ended.code != 0:
        raise SystemExit(f"{job.name}: fails undisturbed:\n{ended.output}")
    folder.rename(calm)
    largest = max(path.stat().st_size for path in files_of(calm).values())
    life = done = 0
    while done < count:
        prepare_folder(folder)
        disturbed: list[str] = []
        while not job.finished(folder) and len(disturbed) < _MOST and done + len(disturbed) < count:
            planned = random_disturbance(chance, ended.seconds, ended.operations, largest)
            after = run(job.command(folder, root), folder, planned)
            if after.code != 0:
                disturbed.append(planned.name)
                counts.done[f"{'full disks' if planned.room else 'kills'}, {job.name}"] += 1
            _judge(job, planned, after, counts, folder)
        done += len(disturbed)
        last = run(job.command(folder, root), folder)
        wrong = _compare(job, calm, folder, last, counts, " · ".join(disturbed))
        print(
            f"{job.name}: life {life}, {len(disturbed)} disturbances, {done} of {count}, {wrong or 'the same'}",
            flush=True,
        )
        life += 1
        if wrong:
            folder.rename(work / f"life{life}")
        else:
            shutil.rmtree(folder)


def _judge(job: Job, planned: Disturbance, ended: Ended, counts: Counts, folder: Path) -> None:
    """A kill ends a command at once; a full disk ends it with one message."""
    if "Traceback" in ended.output or "unexpected " in ended.output:
        counts.fault("tracebacks", f"{folder}: {planned.name}: {_last_line(ended)}")
    elif planned.room is None and ended.code not in (0, -9):
        counts.fault("refusals", f"{folder}: {planned.name}: {_last_line(ended)}")
    elif planned.room is not None and ended.code not in (0, 1, 2):
        counts.fault("refusals", f"{folder}: {planned.name} ended with {ended.code}: {_last_line(ended)}")


def _compare(job: Job, calm: Path, folder: Path, last: Ended, counts: Counts, disturbed: str) -> int:
    if last.code != 0:
        counts.fault("not finished", f"{folder}: {disturbed}: {last.output.strip()[-300:]}")
        return 1
    wanted, present = files_of(calm / "run"), files_of(folder / "run")
    wrong = 0
    for name in [name for name in wanted if name not in present]:
        counts.fault("files lost", f"{folder}: {name} after {disturbed}")
        wrong += 1
    left = [name for name in present if name not in wanted]
    left += [
        str(path.relative_to(folder)) for path in (folder / "cache").rglob("*") if "tmp" in path.name + path.suffix
    ]
    for name in left:
        counts.fault("left-over files", f"{folder}: {name} after {disturbed}")
        wrong += 1
    return wrong + count_differences(wanted, present, counts, f"{folder}: {{}} after {disturbed}")


def _last_line(ended: Ended) -> str:
    """The line of the error, or else the last one."""
    lines = ended.output.strip().splitlines() or ["no output"]
    return next((line for line in lines if line.startswith("error: ")), lines[-1])[:300]
