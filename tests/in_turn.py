"""Commands one after another in a process of their own, which saves the starts of the others."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_IN_TURN = """
import contextlib, io, json, sys
from preceptor.cli import main

outcomes = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["preceptor", *words]
    code = 0
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            main()
        except SystemExit as left:
            code = left.code or 0
        except BaseException as error:
            code = f"{type(error).__name__}: {error}"
    outcomes.append([code, output.getvalue(), errors.getvalue()])
print(json.dumps(outcomes))
"""


class Outcome(NamedTuple):
    """How a command ended: its exit code (an exception that it let through as text) and what it printed."""

    code: int | str
    output: str
    errors: str


def run_in_turn(before: str, commands: Sequence[Sequence[str]], folder: Path) -> list[Outcome]:
    """Run commands of ``preceptor`` in ``folder``, after a program that says what the process may import."""
    command = [sys.executable, "-c", f"{before}\n{_IN_TURN}", json.dumps([list(words) for words in commands])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=folder)
    assert done.returncode == 0, done.stderr
    return [Outcome(*outcome) for outcome in json.loads(done.stdout)]
