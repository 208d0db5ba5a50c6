"""How a failing command ends: with one message, and a traceback in a log file if the error was unexpected."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from preceptor.utils.errors import PreceptorError, PreceptorWarning, command_line_messages, is_out_of_memory
from preceptor.utils.files import is_full

#: Set to 1, tracebacks are shown.
DEBUG = "PRECEPTOR_DEBUG"
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # typer has no public name for it


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which a batch system sends before it takes the machine away: an interruption like Ctrl-C."""


class Commands(TyperGroup):
    """The commands. An interruption, and an option that is a setting of a recipe, are answered in our own words."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with _interruptions_answered():
            return super().make_context(*arguments, **settings)

    def invoke(self, context: Any) -> Any:
        try:
            with _interruptions_answered():
                return super().invoke(context)
        except EOFError as error:  # no prompt's, which typer answers; of others too it would say "Aborted!" alone
            raise RuntimeError(f"EOFError: {error or 'no message'}") from error
        except _UsageError as error:
            raise _with_hint(error) from None


@contextmanager
def _interruptions_answered() -> Iterator[None]:
    """End the process as :func:`run` says, here already, since typer does so without a word."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise SystemExit(_interrupted(interrupt)) from None


def run(app: typer.Typer) -> None:
    """Run the command line and exit.

    Exit codes: 0 done, 2 refused with one message, 130 interrupted by Ctrl-C, 143 by SIGTERM, 1 anything else.
    """
    _survive_odd_names()
    in_main_thread = threading.current_thread() is threading.main_thread()  # no other may set what a signal does
    if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # else whoever started this wants it so
        signal.signal(signal.SIGTERM, _terminate)
    warnings.showwarning = _note(warnings.showwarning)
    with command_line_messages():
        _run(app)


def _run(app: typer.Typer) -> None:
    try:
        app()
    except PreceptorError as error:
        _end(str(error), 2)
    except KeyboardInterrupt as interrupt:
        sys.exit(_interrupted(interrupt))
    except BrokenPipeError:  # whoever read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get(DEBUG) == "1":
            raise
        _end(_in_words(error), 1)


def _end(message: str, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def _terminate(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    raise _Terminated


def _interrupted(interrupt: KeyboardInterrupt) -> int:
    print("\n".join(["stopped", *getattr(interrupt, "__notes__", [])]), file=sys.stderr)
    return 128 + (signal.SIGTERM if isinstance(interrupt, _Terminated) else signal.SIGINT)


def _in_words(error: Exception) -> str:
    """An unexpected error in a line or two, its traceback written to a log file."""
    log = f"details: {_log(error)}; with {DEBUG}=1 they are shown here"
    if is_out_of_memory(error):
        return str(
            PreceptorError(
                f"out of memory ({_first_line(error)})",
                remedy=f"set a smaller batch_size or image_size, or end other programs; {log}",
            )
        )
    if isinstance(error, OSError) and error.strerror:
        place = error.filename2 or error.filename
        named = f"{os.fsdecode(place)}: " if isinstance(place, str | bytes | os.PathLike) else ""
        remedy = f"make room on the disk, or write elsewhere; {log}" if is_full(error) else log
        return str(PreceptorError(f"{named}{error.strerror}", remedy=remedy))
    return str(PreceptorError(f"unexpected {type(error).__name__}: {_first_line(error)}", remedy=f"report it; {log}"))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:300]


def _log(error: Exception) -> str:
    """The path of a file with the traceback, in the user's log folder or else among temporary files."""
    from platformdirs import user_log_path

    text = f"{sys.argv}\n{''.join(traceback.format_exception(error))}"
    name = f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.log"
    for folder in (user_log_path("preceptor"), Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return str(folder / name)
    return "nowhere (no folder can be written to)"


def _survive_odd_names() -> None:
    """File names need not be UTF-8, and terminals need not show it: print what cannot be printed as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _note(show: Any) -> Any:
    """``warnings.showwarning`` that prints our own warnings as notes."""

    def shown(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, PreceptorWarning):
            print(f"note: {message}", file=sys.stderr)
        else:
            show(message, category, *rest, **more)

    return shown


def _with_hint(error: Exception) -> Exception:
    """``--epochs 3``, where ``epochs`` is a setting: how it is written."""
    option = str(getattr(error, "option_name", "")).lstrip("-").partition("=")[0]
    if not option or type(error).__name__ != "NoSuchOption":
        return error
    from preceptor.recipes.overrides import is_setting

    key = option if option.startswith("data.") or is_setting(option) else option.replace("-", "_")
    if not (key.startswith("data.") or is_setting(key)):
        return error
    return PreceptorError(f"there is no option --{option}", expected=f"write {key}={_value_after(option)}")


def _value_after(option: str) -> str:
    for word, following in zip(sys.argv, [*sys.argv[1:], ""], strict=True):
        if word.startswith(f"--{option}="):
            return word.partition("=")[2]
        if word == f"--{option}" and following and not following.startswith("-"):
            return following
    return "VALUE"
