"""Signals to one process of a command or to all of them: nothing may outlive it, and the same command then finishes.

Besides trainings with several processes, these are the commands on finished runs, whose output is compared too.
"""

from __future__ import annotations

import random
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from preceptor.data.phantom import Phantom, write_phantom
from tests.storm.compare import count_differences, differences, files_of
from tests.storm.counts import Counts
from tests.storm.jobs import KNOBS, PLAN, SEARCHED, SMALL, STUDENT, TEACHER
from tests.storm.process import Disturbance, Ended, Whom, load_libraries, run

#: Signals to one folder before its command is left alone.
_MOST = 3
_ENDINGS = {signal.SIGKILL: (0, -signal.SIGKILL), signal.SIGTERM: (0, 143, -signal.SIGTERM)}
_RUNS = (
    ("train", "student", "--data", "phantom", *SMALL, *STUDENT, "--root", "data", "--out", "student"),
    ("train", "kd", "--data", "phantom", *SMALL, *TEACHER, *STUDENT, "--root", "data", "--out", "kd"),
)
_MASKS = (
    "train", "kd_ml_v3", "--task", "segmentation", "--data", "phantom", *SMALL, "teacher_backbone=test_resnet",
    "backbone=test_efficientnet", "pretrained=none", "teacher_pretrained=none", "--root", "data", "--out", "masks",
)  # fmt: skip
_LOST = ("layers.npz", "errors.npz", "relations.npz")  # of kd, which evaluate writes again


@dataclass(frozen=True)
class Job:
    """A command that is given again until it is done.

    Attributes:
        words: of the command line, in a folder that holds ``data`` and what ``before`` has written.
        before: commands of which the folder holds the output.
        whom: who is sent the signal.
        lost: files that are removed before.
    """

    name: str
    words: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    whom: tuple[Whom, ...] = ("all", "main")
    lost: tuple[str, ...] = ()

    def command(self, folder: Path) -> list[str]:
        """The words to begin, or to go on with what stands in ``folder``."""
        out = self.words[-1]
        begun = self.words[0] == "train" and (folder / out / "environment.json").is_file()
        return ["resume", out] if begun else [*self.words]


_EVERY: tuple[Whom, ...] = ("all", "main", "child", "child")
_DATA = ("--data", "phantom", "--root", "data")
JOBS = (
    Job("search", ("tune", "kd", *SEARCHED, *_DATA, *SMALL, *TEACHER, *STUDENT, "--out", "search")),
    Job("study", ("study", "plan.yaml", "--root", "data", "--workers", "2", "--out", "study"), whom=_EVERY),
    Job(
        "two processes",
        ("train", "kd", "--devices", "2", *_DATA, *SMALL, *TEACHER, *STUDENT, "--out", "two"),
        whom=_EVERY,
    ),
    Job("report", ("report", "student", "kd", "--out", "page.html"), _RUNS),
    Job("explain", ("explain", "kd", "--alone", "student"), _RUNS),
    Job("explain elsewhere", ("explain", "kd", "--alone", "student", "--out", "gallery"), _RUNS),
    Job("export", ("export", "kd", "--int8", "--out", "exported", "--overwrite"), _RUNS),
    Job("evaluate", ("evaluate", "kd", "--out", "measured"), _RUNS, lost=tuple(f"kd/{name}" for name in _LOST)),
    Job("evaluate both", ("evaluate", "kd", "student", "--part", "validation", "--out", "measured"), _RUNS),
    Job(
        "other data",
        ("evaluate", "kd", "student", "--data", "phantom", "--root", "other", "--skip-known", "--out", "other-data"),
        _RUNS,
    ),
    Job("predict", ("predict", "kd", "other", "--out", "predictions.csv"), _RUNS),
    Job("predict masks", ("predict", "masks", "other/images", "--network", "student_1", "--out", "drawn"), (_MASKS,)),
)  # fmt: skip


def storm_of_signals(work: Path, count: int, seed: int, only: tuple[str, ...] = ()) -> Counts:
    """Send ``count`` signals to each job, and compare what it leaves in the end.

    Args:
        work: folder to work in; what is found wanting stays there.
        only: names of jobs; all unless given.
    """
    load_libraries()
    counts = Counts()
    for job in [job for job in JOBS if not only or job.name in only]:
        _storm(job, work / job.name.replace(" ", "-"), count, random.Random(f"{seed} {job.name}"), counts)
    return counts


def _storm(job: Job, work: Path, count: int, chance: random.Random, counts: Counts) -> None:
    shutil.rmtree(work, ignore_errors=True)
    start, calm, folder = work / "start", work / "undisturbed", work / "here"
    _prepare(job, folder)
    shutil.copytree(folder, start)
    ended = _calm(job, folder)
    folder.rename(calm)
    done = life = 0
    while done < count:
        shutil.copytree(start, folder)
        disturbed: list[str] = []
        code = 1
        while code != 0 and len(disturbed) < _MOST and done + len(disturbed) < count:
            planned = _planned(job, chance, ended)
            after = run(job.command(folder), folder, planned)
            code = after.code
            if after.disturbed or code != 0:
                disturbed.append(planned.name)
                counts.done[f"signals, {job.name}"] += 1
            _judge(job, planned, after, counts, folder)
            _refuse_halves(calm, start, folder, counts, planned.name)
        done += len(disturbed)
        last = run(job.command(folder), folder)
        wrong = _compare(calm, folder, last, counts, " · ".join(disturbed))
        print(f"{job.name}: life {life}, {' · '.join(disturbed)}, {done} of {count}, {wrong or 'the same'}", flush=True)
        life += 1
        if wrong:
            folder.rename(work / f"life{life}")
        else:
            shutil.rmtree(folder)


def _planned(job: Job, chance: random.Random, calm: Ended) -> Disturbance:
    """A signal at any time, or a kill before any of the file operations."""
    if chance.random() < 0.4:
        return Disturbance(operation=chance.randint(1, max(calm.operations, 1)))
    return Disturbance(
        seconds=round(chance.uniform(0.02, 1.02) * calm.seconds, 3),
        signal=chance.choice([signal.SIGKILL, signal.SIGTERM]),
        whom=chance.choice(job.whom),
    )


def _prepare(job: Job, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "plan.yaml").write_text(PLAN, encoding="utf-8")
    write_phantom(folder / "data", Phantom(**KNOBS))  # type: ignore[arg-type]
    write_phantom(folder / "other", Phantom(**{**KNOBS, "seed": 7}))  # type: ignore[arg-type]
    for words in job.before:
        ended = run(words, folder)
        if ended.code != 0:
            raise SystemExit(f"{job.name}: {words} fails:\n{ended.output}")
    for name in job.lost:
        (folder / name).unlink()


def _calm(job: Job, folder: Path) -> Ended:
    ended = run(job.command(folder), folder)
    if ended.code != 0:
        raise SystemExit(f"{job.name}: fails undisturbed:\n{ended.output}")
    return ended


def _judge(job: Job, planned: Disturbance, ended: Ended, counts: Counts, folder: Path) -> None:
    """A signal to a command ends it and its processes; one to a child alone is an error in words."""
    where = f"{folder}: {planned.name}"
    if "Traceback" in ended.output or "unexpected " in ended.output:
        counts.fault("tracebacks", f"{where}: {ended.output.strip()[-1500:]}")
    expected = (0, 1, 2, 143) if planned.whom == "child" else _ENDINGS[planned.signal]
    if ended.code not in expected:
        counts.fault("exit codes", f"{where} ended with {ended.code}: {ended.output.strip()[-600:]}")
    if ended.outlived:
        counts.fault("processes that outlive", f"{where}: {ended.outlived}")
    if planned.whom == "child" and ended.code != 0:
        print(f"  {planned.name}: {ended.output.strip().splitlines()[-1][:300]}", flush=True)


def _refuse_halves(calm: Path, start: Path, folder: Path, counts: Counts, planned: str) -> None:
    """Whatever is readable by now is whole: where a file of the undisturbed run cannot be read it is half a file."""
    wanted, before = files_of(calm), files_of(start)
    for name, path in files_of(folder).items():
        if name in wanted and name not in before and not path.name.startswith("."):
            try:
                differences(wanted[name], path)
            except Exception as error:
                counts.fault("half files", f"{folder}: {name} after {planned}: {error!r}")


def _compare(calm: Path, folder: Path, last: Ended, counts: Counts, disturbed: str) -> int:
    if last.code != 0:
        counts.fault("not finished", f"{folder}: {disturbed}: {last.output.strip()[-600:]}")
        return 1
    wanted, present = files_of(calm), files_of(folder)
    wrong = 0
    for name in sorted(wanted.keys() ^ present.keys()):
        if not name.endswith(".log"):
            counts.fault("files lost" if name in wanted else "left-over files", f"{folder}: {name} after {disturbed}")
            wrong += 1
    return wrong + count_differences(wanted, present, counts, f"{folder}: {{}} after {disturbed}")
