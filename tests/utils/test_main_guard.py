"""A script without ``if __name__ == "__main__":`` is told so by the processes that import it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: As in a script that has no guard, its process comes to the call while it imports the script.
_SCRIPT = """
import multiprocessing
import preceptor

if __name__ == "__main__":
    process = multiprocessing.get_context("{method}").Process(target=print, args=("at work",))
    process.start()
    process.join()
    print("exit code", process.exitcode)
else:
    preceptor.{call}
"""


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("spawn", "train('student', data='phantom', devices=2)"),
        ("forkserver", "study('crckd_table1', workers=2)"),
        ("forkserver", "tune('student', data='phantom')"),
        ("spawn", "resume('run')"),
    ],
)
def test_a_process_that_imports_its_script_does_not_train(tmp_path: Path, method: str, call: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT.format(method=method, call=call))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert "exit code 1" in done.stdout
    assert 'under: if __name__ == "__main__":' in done.stderr
    assert "at work" not in done.stdout
