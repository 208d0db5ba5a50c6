"""Damaged inputs: each must give what the healthy one gives, or one :class:`PreceptorError`."""

from __future__ import annotations

import random
import signal
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import preceptor
from preceptor.utils.errors import PreceptorError
from tests.storm.compare import equal, leaves
from tests.storm.counts import Counts
from tests.storm.process import load_libraries
from tests.storm.targets import Target, build_targets

#: Seconds after which reading a damaged file is taken for endless.
_LONGEST = 60
_LONGEST_MESSAGE = 6000
#: The package's own folder, whatever the folders above it are called.
SOURCES = Path(preceptor.__file__).parent


def storm_of_mutants(work: Path, count: int, seed: int, only: tuple[str, ...] = ()) -> Counts:
    """Damage one file at a time, ``count`` times in all, read it, and put it back.

    Args:
        work: folder to work in; what is trained there is used again.
        only: what the names of the targets begin with; all targets unless given.
    """
    load_libraries()
    work.mkdir(parents=True, exist_ok=True)
    targets = [target for target in build_targets(work) if not only or target.name.startswith(only)]
    counts, shares = Counts(), sum(target.share for target in targets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for target in targets:
            began, number = time.monotonic(), -(-count * target.share // shares)
            _storm(target, number, random.Random(f"{seed} {target.name}"), counts)
            print(f"{target.name}: {number} in {time.monotonic() - began:.1f} s", flush=True)
    return counts


def _storm(target: Target, number: int, chance: random.Random, counts: Counts) -> None:
    path = target.folder / target.file
    healthy, right = path.read_bytes(), target.read(target.folder)
    for index in range(number):
        content, name = _mutant(target, healthy, chance)
        before = _sizes(target.folder)
        path.write_bytes(content)
        try:
            outcome = _read(target, right, content == healthy, f"{target.name} #{index} {name}", counts)
        finally:
            path.write_bytes(healthy)
        counts.done[f"mutants, {outcome}"] += 1
        for lost in before.keys() - _sizes(target.folder).keys():
            counts.fault("files lost", f"{target.name} #{index} {name}: {lost}")


def _mutant(target: Target, healthy: bytes, chance: random.Random) -> tuple[bytes, str]:
    if target.others and chance.random() < 0.1:
        other = chance.choice(target.others)
        return (target.folder / other).read_bytes(), f"exchanged with {other}"
    mutation = chance.choice(target.mutations)
    return mutation(healthy, chance), mutation.__name__


def _read(target: Target, right: Any, same: bool, case: str, counts: Counts) -> str:
    try:
        with _limited():
            result = target.read(target.folder)
    except PreceptorError as error:
        if not str(error).strip() or len(str(error)) > _LONGEST_MESSAGE:
            counts.fault("messages without measure", f"{case}: {len(str(error))} characters")
        if same:
            counts.fault("refused though healthy", f"{case}: {error.what}")
        return "refused with one message"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)
        own = next((frame for frame in reversed(place) if Path(frame.filename).is_relative_to(SOURCES)), place[-1])
        where = f"{_place(Path(own.filename))}:{own.lineno}"
        counts.fault("tracebacks", f"{case}: {type(error).__name__} at {where}: {str(error)[:150]}")
        return "not foreseen"
    if target.exact and not _equal(result, right):
        counts.fault("bits that differ", case)
        return "silently wrong"
    return "read"


def _place(file: Path) -> Path:
    return file.relative_to(SOURCES) if file.is_relative_to(SOURCES) else file


def _equal(result: Any, right: Any) -> bool:
    first, second = dict(leaves(result)), dict(leaves(right))
    return first.keys() == second.keys() and all(equal(first[place], second[place]) for place in first)


def _sizes(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


@contextmanager
def _limited() -> Iterator[None]:
    """Raise ``TimeoutError`` in what takes too long."""

    def end(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not read after {_LONGEST} s")

    signal.signal(signal.SIGALRM, end)
    signal.alarm(_LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
