"""What callers may give in several forms, brought into one: paths, numbers, overrides, ids to leave out, progress."""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, SupportsIndex

from preceptor.recipes.overrides import split_overrides
from preceptor.utils.errors import PreceptorError, render_options
from preceptor.utils.text_files import read_ids

#: A path, or what has one, such as a run.
PathLike = str | os.PathLike[str]
#: ``key=value`` texts as on the command line, or keys with their values; ``data.key`` are options of the reader.
OverridesLike = Iterable[str] | Mapping[str, Any]
#: Ids, or the path of a text file with one id per line.
ExcludeLike = Iterable[str] | PathLike


def optional_path(path: PathLike | None) -> Path | None:
    """The path with ``~`` expanded, or None."""
    return None if path is None else Path(path).expanduser()


def path_list(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    """One path or several as a list, with ``~`` expanded."""
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    return [Path(path).expanduser() for path in given]


def text(name: str, value: Any, expected: str) -> str:
    """An argument that is a text, or a path as text.

    Args:
        name: of the argument.
        expected: what it is to be, for the message.

    Raises:
        PreceptorError: it is something else, such as None.
    """
    if isinstance(value, str | os.PathLike):
        return str(os.fspath(value))
    raise PreceptorError(f"'{name}': {value!r}", expected=expected)


def whole_number(name: str, value: SupportsIndex, least: int) -> int:
    """An argument that is a whole number of Python or numpy, as Python's.

    Args:
        name: of the argument.
        least: the least that it may be.

    Raises:
        PreceptorError: it is something else, or less.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        raise PreceptorError(f"--{name} {value!r}", expected=f"a whole number, {least} or more")
    return number


def optional_number(name: str, value: SupportsIndex | None, least: int) -> int | None:
    """:func:`whole_number`, or None."""
    return None if value is None else whole_number(name, value, least)


def excluded_ids(exclude: ExcludeLike | None) -> tuple[str, ...]:
    """Ids to leave out: as given, or read from the file at that path; None is none.

    Raises:
        PreceptorError: no such file, or one that is not text.
    """
    if isinstance(exclude, str | os.PathLike):
        return read_ids(Path(exclude).expanduser())
    return () if exclude is None else tuple(exclude)


def reader_options(overrides: OverridesLike | None, reader: str | None) -> dict[str, Any]:
    """Overrides of a command that sets nothing but options of a reader.

    Raises:
        PreceptorError: an override that is not ``data.key=value``, or one without a reader.
    """
    settings, options = split_overrides(overrides, reader)
    if settings:
        raise PreceptorError(
            f"{next(iter(settings))!r} cannot be set here", expected="options of the reader, data.key=value"
        )
    return options


def shows_progress(progress: bool | None) -> bool:
    """Whether to show progress: as asked for, or else in a terminal or notebook."""
    return progress if progress is not None else sys.stdout.isatty() or "ipykernel" in sys.modules


def announce(text: str, progress: bool) -> None:
    """Print what is about to be done, before what takes long (importing torch, reading a large folder)."""
    if progress:
        print(render_options(text), flush=True)


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """Context manager for work that can be continued: adds ``how`` to a KeyboardInterrupt as its note."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if not getattr(interrupt, "__notes__", None):  # an inner one knows better
            interrupt.add_note(how)
        raise


@contextmanager
def counting(what: str, total: int, progress: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal for ``total`` things; yields the function that moves it by some. Needs no torch."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console()
    with Progress(console=console, transient=True, disable=not (progress and console.is_terminal)) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.advance(task, done)
