from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from preceptor.study.worker import THREADS, environment

MAIN = """
import os, sys
from preceptor.cli import main
sys.argv = ["preceptor", "--version"]
try:
    main()
except SystemExit:
    print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""


@pytest.mark.parametrize("given", [{}, {"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "ACTIVE"}])
def test_workers_elsewhere_are_told_how_threads_wait(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    rest = {name: value for name, value in environment(3).items() if name not in THREADS}
    assert rest == (given or {"GOMP_SPINCOUNT": "10000"})


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
    ids=["nothing", "a count", "a policy"],
)
def test_threads_spin_briefly_unless_the_user_says_how_they_wait(given: dict[str, str], expected: str) -> None:
    """The command sets it before torch, which reads it once, is loaded."""
    rest = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", MAIN], env={**rest, **given}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"{expected} False"


FREED = """
import resource, sys
from preceptor.cli import main
sys.argv = ["preceptor", "--version"]
try:
    main()
except SystemExit:
    pass
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def _faults_of_a_block_that_was_there_before(**given: str) -> int:
    rest = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_", "LD_PRELOAD"))}
    done = subprocess.run(
        [sys.executable, "-c", FREED], env={**rest, **given}, capture_output=True, text=True, check=True
    )
    return int(done.stdout.splitlines()[-1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_kept_unless_the_user_says_how_memory_is_handed_out() -> None:
    given_back = _faults_of_a_block_that_was_there_before(MALLOC_TRIM_THRESHOLD_="131072")
    assert _faults_of_a_block_that_was_there_before() < given_back / 10
