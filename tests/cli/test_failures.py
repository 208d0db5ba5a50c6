"""How the command line ends when something goes wrong."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from preceptor.api.inputs import resumable
from preceptor.cli.unexpected import Commands, run
from preceptor.utils.errors import PreceptorError


def ended(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command that fails with an error."""

    def raise_it() -> None:
        raise error

    return exit_code(raise_it, monkeypatch)


def exit_code(work: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command that does this."""
    app = typer.Typer(cls=Commands, pretty_exceptions_enable=False, rich_markup_mode=None)

    @app.command()
    def fail() -> None:
        work()

    @app.command()
    def other() -> None: ...

    monkeypatch.setattr(sys, "argv", ["preceptor", "fail"])
    with pytest.raises(SystemExit) as left:
        run(app)
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("platformdirs.user_log_path", lambda name: tmp_path / "logs")
    monkeypatch.delenv("PRECEPTOR_DEBUG", raising=False)
    return tmp_path / "logs"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/x.csv"),
            "error: /data/x.csv: No space left on device",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "error: /x: Permission denied"),
        (MemoryError(), "error: out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "error: out of memory"),
        (KeyError("networks"), "error: unexpected KeyError: 'networks'"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_unexpected_is_a_message_with_a_log(
    error: Exception, message: str, logs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(error, monkeypatch) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(message)
    assert "Traceback" not in printed
    (log,) = logs.iterdir()
    assert str(log) in printed
    assert "Traceback" in log.read_text()


def test_a_traceback_is_shown_when_asked_for(monkeypatch: pytest.MonkeyPatch, logs: Path) -> None:
    monkeypatch.setenv("PRECEPTOR_DEBUG", "1")
    with pytest.raises(KeyError):
        ended(KeyError("x"), monkeypatch)
    assert not logs.exists()


def test_what_the_user_gave_is_an_error_of_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], logs: Path
) -> None:
    assert ended(PreceptorError("no such run", remedy="train one"), monkeypatch) == 2
    assert capsys.readouterr().err == "error: no such run\n  to do:    train one\n"
    assert not logs.exists()


def test_an_interruption_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    interrupt = KeyboardInterrupt()
    interrupt.add_note("go on with: preceptor resume runs/x")
    assert ended(interrupt, monkeypatch) == 130
    assert capsys.readouterr().err == "stopped\ngo on with: preceptor resume runs/x\n"


def test_the_signal_of_batch_systems_is_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def be_terminated() -> None:
        with resumable("go on with: preceptor resume runs/x"):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    assert exit_code(be_terminated, monkeypatch) == 143
    assert capsys.readouterr().err == "stopped\ngo on with: preceptor resume runs/x\n"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # so that a second one ends it at once


def test_a_signal_that_comes_while_the_command_line_is_read_is_one_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def be_terminated(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr(Commands, "parse_args", be_terminated)
    assert exit_code(lambda: None, monkeypatch) == 143
    assert capsys.readouterr().err == "stopped\n"


def test_an_end_of_input_is_not_an_answer_to_a_prompt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(EOFError(), monkeypatch) == 1
    assert capsys.readouterr().err.startswith("error: unexpected RuntimeError: EOFError")
