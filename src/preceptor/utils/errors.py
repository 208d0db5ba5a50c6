"""The one kind of error, and of warning, that a user is meant to read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, Self, TypeVar

E = TypeVar("E", bound="PreceptorError")

#: Whether messages name options (``--skip-known``), as on the command line, or arguments (``'skip_known'``).
_names_options = False
_OPTION = re.compile(r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)(?![\w-])")
_COMMAND = re.compile(r"\b(?:preceptor [a-z]+ |npm |ray |pip )")  # what follows is typed into a shell
_ARGUMENTS = {"import": "imports", "class-name": "class_names"}  # that are called otherwise than their option
_LONGEST = 200  # characters of a name in a list
_LONGEST_LINE = 2000  # characters of a line of a message


class PreceptorError(Exception):
    """Something the user gave, or the machine lacks; shown without a traceback, exit code 2.

    Args:
        what: what is wrong and where (names the file or the key).
        expected: what would have been right.
        remedy: what to do now.

    Options are written as the command line has them; in Python they are shown as arguments.

    >>> print(PreceptorError("--out runs: is a file", remedy="choose another --out"))
    'out' runs: is a file
      to do:    choose another 'out'
    """

    def __init__(self, what: str, *, expected: str = "", remedy: str = "") -> None:
        self.what, self.expected, self.remedy = _cut(what), _cut(expected), _cut(remedy)
        lines = [self.what]
        if expected:
            lines.append(f"  expected: {self.expected}")
        if remedy:
            lines.append(f"  to do:    {self.remedy}")
        super().__init__("\n".join(lines))

    def __str__(self) -> str:
        return render_options(self.message)

    @property
    def message(self) -> str:
        """The text with its options as on the command line, whoever calls: what is written into files."""
        return super().__str__()

    def __reduce__(self) -> tuple[Any, ...]:  # keeps the three parts across process borders
        return _rebuild, (type(self), self.what, self._parts())

    def prefixed(self, where: str) -> Self:
        """The same error, of the same class, with ``where`` (a row, a file) before its text."""
        return _rebuild(type(self), f"{where}: {self.what}", self._parts())

    def _parts(self) -> dict[str, Any]:
        """What the error was made with beside its text."""
        return {"expected": self.expected, "remedy": self.remedy}


class UnknownKeyError(PreceptorError):
    """A key that nothing reads, such as a mistyped one of a recipe.

    Args:
        what: as for :class:`PreceptorError`.
        key: the key, dotted, up to the part that is not known.
        known: what could stand in place of its last part.
        expected: as for :class:`PreceptorError`.
        remedy: as for :class:`PreceptorError`.
    """

    def __init__(self, what: str, *, key: str, known: Iterable[str], expected: str = "", remedy: str = "") -> None:
        super().__init__(what, expected=expected, remedy=remedy)
        self.key, self.known = key, tuple(known)

    @property
    def suggestion(self) -> str:
        """`` Did you mean 'x'?`` for the known key that is nearest, or an empty string."""
        return did_you_mean(self.key.rpartition(".")[2], self.known)

    def _parts(self) -> dict[str, Any]:
        return {**super()._parts(), "key": self.key, "known": self.known}


class PreceptorWarning(UserWarning):
    """Something that a user should know and that does not stop the work; the command line prints it as a note."""

    def __str__(self) -> str:
        return render_options(super().__str__())


@contextmanager
def command_line_messages() -> Iterator[None]:
    """Context manager of the command line: messages name options, and not the arguments of Python's functions."""
    global _names_options
    before, _names_options = _names_options, True
    try:
        yield
    finally:
        _names_options = before


def render_options(text: str) -> str:
    """Return a message with its options as they are on the command line, and as arguments in Python.

    >>> render_options("leave them out: --skip-known")
    "leave them out: 'skip_known'"
    >>> render_options("write one with: preceptor export RUN --out FOLDER")
    'write one with: preceptor export RUN --out FOLDER'
    """
    return text if _names_options else "\n".join(map(_with_arguments, text.split("\n")))


def _with_arguments(line: str) -> str:
    command = _COMMAND.search(line)
    end = command.start() if command else len(line)
    named = _OPTION.sub(lambda option: f"'{_ARGUMENTS.get(option[1], option[1].replace('-', '_'))}'", line[:end])
    return named + line[end:]


def _rebuild(kind: type[E], what: str, parts: Mapping[str, Any]) -> E:
    return kind(what, **parts)


def _cut(text: str) -> str:
    """The text with the middle of its lines left out where something endless was put into them."""
    half = _LONGEST_LINE // 2
    lines = text.split("\n")  # a list of files is many lines, each of which has to be whole
    return "\n".join(line if len(line) <= _LONGEST_LINE else f"{line[:half]} … {line[-half:]}" for line in lines)


@contextmanager
def prefix_errors(where: str) -> Iterator[None]:
    """Put ``where`` (a row, a file) before the text of a :class:`PreceptorError` raised inside; its class stays."""
    try:
        yield
    except PreceptorError as error:
        raise error.prefixed(where) from None


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory, of the machine or of a GPU, did not suffice.

    >>> is_out_of_memory(RuntimeError("CUDA out of memory.")), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` (with a leading space), or an empty string when nothing is close."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def some_of(names: Iterable[object], most: int = 10) -> str:
    """The first names of a long list and how many more there are: ``a, b and 7 more``; endless names are cut."""
    listed = [name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…" for name in map(str, names)]
    shown = ", ".join(listed[:most])
    return shown if len(listed) <= most else f"{shown} and {len(listed) - most} more"
