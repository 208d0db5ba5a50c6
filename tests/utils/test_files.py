from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_output, write_text


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.skipif(os.name != "posix", reason="processes are asked in the way of POSIX")
def test_a_file_that_is_written_again_clears_what_killed_writers_left(tmp_path: Path, gone: int) -> None:
    (tmp_path / f".report[1].tex.{gone}.tmp").write_text("half")
    (tmp_path / f".report[1].tex.{os.getppid()}.tmp").write_text("another process is writing this")
    (tmp_path / ".report[1].tex.mine.tmp").write_text("a user's")
    write_text(tmp_path / "report[1].tex", "whole")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted([f".report[1].tex.{os.getppid()}.tmp", ".report[1].tex.mine.tmp", "report[1].tex"])


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "split.csv", "before")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*split\.csv"):
        write_text(tmp_path / "split.csv", "after")
    assert [path.name for path in tmp_path.iterdir()] == ["split.csv"]
    assert (tmp_path / "split.csv").read_text() == "before"


def test_a_full_disk_is_told_from_a_place_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PreceptorError, match=r"table\.csv: cannot be written \(No space.*\n.*make room"):
        write_output(tmp_path / "table.csv", "a,b\n")
    assert list(tmp_path.iterdir()) == []
