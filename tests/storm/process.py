"""Commands in processes that are forked from this one, which has loaded the libraries already."""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"}


#: All processes of a command, its first one, or one of those that this one has started.
Whom = Literal["all", "main", "child"]
_PATIENCE = (
    120  # seconds for a command to end once it was disturbed, and 60 for its processes, which may still be loading
)
_GRACE = 60


@dataclass(frozen=True)
class Disturbance:
    """What happens to a command.

    Attributes:
        seconds: after which it is sent ``signal``.
        operation: number of the file operation before which it kills itself, from 1.
        room: bytes that a file can have; a larger one meets a full disk (``EFBIG``).
        whom: who is sent the signal; a child is chosen by chance.
    """

    seconds: float | None = None
    operation: int | None = None
    room: int | None = None
    signal: signal.Signals = signal.SIGKILL
    whom: Whom = "all"

    @property
    def name(self) -> str:
        if self.room is not None:
            return f"files of at most {self.room} bytes"
        if self.operation:
            return f"kill at operation {self.operation}"
        if self.signal == signal.SIGKILL and self.whom == "all":
            return f"kill after {self.seconds} s"
        return f"{self.signal.name} to {self.whom} after {self.seconds} s"


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code, -9 of a kill.
        operations: on files, 0 of a kill.
        disturbed: whether it was sent a signal.
        outlived: processes that it had started and that were there seconds after its end.
    """

    code: int
    output: str
    seconds: float
    operations: int
    disturbed: bool = False
    outlived: str = ""


def load_libraries() -> None:
    """Import what every command imports."""
    import optuna.samplers
    import timm
    import torch

    import preceptor.api.completion
    import preceptor.cli
    import preceptor.study.scheduler
    import preceptor.tune.search  # noqa: F401

    torch.set_num_threads(1)
    timm.create_model("test_resnet")
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def run(words: Sequence[str], folder: Path, disturbance: Disturbance | None = None) -> Ended:
    """Run ``preceptor WORDS`` in ``folder`` to its end, or to the disturbance."""
    disturbance = disturbance or Disturbance()
    counter = folder.with_suffix(".operations")
    counter.unlink(missing_ok=True)
    began = time.monotonic()
    sys.stdout.flush()
    reading, writing = os.pipe()  # not a file, which would meet the full disk too
    process = os.fork()
    if process == 0:
        os.close(reading)
        _become(words, folder, writing, counter, disturbance)
    os.close(writing)
    os.set_blocking(reading, False)
    status, output, disturbed = _wait(process, reading, began, disturbance)
    seconds = time.monotonic() - began
    operations = int(counter.read_text()) if counter.is_file() else 0
    return Ended(os.waitstatus_to_exitcode(status), output, seconds, operations, disturbed, _outlived(process))


def random_disturbance(chance: random.Random, seconds: float, operations: int, largest: int) -> Disturbance:
    """One that falls somewhere into a command of this length, or a little after its end.

    Args:
        largest: bytes of the largest file that it writes.
    """
    kind = chance.choice(["time", "time", "operation", "operation", "room"])
    if kind == "time":
        return Disturbance(seconds=round(chance.uniform(0.02, 1.05) * seconds, 3))
    if kind == "operation":
        return Disturbance(operation=chance.randint(1, max(operations, 1)))
    return Disturbance(room=int(2 ** chance.uniform(8, max(largest, 512).bit_length())))


def _wait(process: int, pipe: int, began: float, planned: Disturbance) -> tuple[int, str, bool]:
    """Wait for the end, or for the time of the signal and then the end; exit status, output, and whether it was sent.

    A command that does not end is killed, which its output says.
    """
    output, ended, status, sent = b"", 0, 0, 0.0
    try:
        while not ended:
            time.sleep(0.005)
            ended, status = os.waitpid(process, os.WNOHANG)
            output += _read(pipe)
            passed = time.monotonic() - began
            if not ended and not sent and planned.seconds is not None and passed >= planned.seconds:
                sent = passed if _send(process, planned) else 0.0
            if not ended and sent and passed > sent + _PATIENCE:
                output += b"\nunexpected wait: it did not end"
                os.killpg(process, signal.SIGKILL)
                ended, status = os.waitpid(process, 0)
        return status, (output + _read(pipe)).decode(errors="replace"), bool(sent)
    finally:
        os.close(pipe)


def _send(process: int, planned: Disturbance) -> bool:
    try:
        if planned.whom == "all":
            os.killpg(process, planned.signal)
        elif planned.whom == "main":
            os.kill(process, planned.signal)
        else:
            children = [number for number in _of_group(process) if number != process]
            os.kill(random.Random(planned.seconds).choice(children), planned.signal)
    except (ProcessLookupError, IndexError):
        return False  # there is none yet
    return True


def _of_group(group: int) -> list[int]:
    """The processes of a process group, those aside that have ended and that nobody waits for."""
    numbers = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                state, _, number = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(number) == group and state != "Z":
                numbers.append(int(folder.name))
    return sorted(numbers)


def _outlived(group: int) -> str:
    """Which processes of a group are there some seconds after its end, in words; they are killed."""
    until = time.monotonic() + _GRACE
    while numbers := _of_group(group):
        if time.monotonic() > until:
            lines = [Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode() for number in numbers]
            os.killpg(group, signal.SIGKILL)
            return "; ".join(line[:200] for line in lines)
        time.sleep(0.02)
    return ""


def _read(pipe: int) -> bytes:
    try:
        return os.read(pipe, 1 << 20)
    except BlockingIOError:
        return b""


def _become(words: Sequence[str], folder: Path, pipe: int, counter: Path, disturbance: Disturbance) -> None:
    """Be the command, in the forked process; never returns."""
    code = 1
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        os.dup2(pipe, 1)
        os.dup2(pipe, 2)
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
        sys.argv = ["preceptor", *words]
        count = _watch_files(str(folder), disturbance.operation)
        if disturbance.room is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (disturbance.room, resource.RLIM_INFINITY))
        from preceptor.cli import main

        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if disturbance.room is None:
            counter.write_text(str(count()))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _watch_files(folder: str, last: int | None):  # type: ignore[no-untyped-def]
    """Count operations that change files below ``folder``, and die before number ``last``."""
    number, here = 0, os.getpid()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal number
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in _CHANGES) or os.getpid() != here:
            return
        path = arguments[0]
        name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if os.path.abspath(name).startswith(folder + os.sep):
            number += 1
            if number == last:
                os.kill(here, signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: number
