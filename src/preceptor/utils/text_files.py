"""Text files that people write: which encodings are read, and what is a comment in a list of ids."""

from __future__ import annotations

import codecs
import warnings
from pathlib import Path

from preceptor.utils.errors import PreceptorError, PreceptorWarning, some_of

_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF8: "utf-8-sig"}


def read_text(path: Path, what: str) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark.

    Args:
        what: what the file should be, for messages, such as ``a recipe``.

    Raises:
        PreceptorError: no such file, one that cannot be opened, or one in another encoding.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise PreceptorError(f"{path}: no such file", expected=what) from None
    except OSError as error:
        raise PreceptorError(f"{path}: cannot be read ({error.strerror})", expected=what) from None
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise PreceptorError(
            f"{path}: line {line} is not UTF-8 (byte 0x{content[error.start]:02x})",
            expected=f"{what} as a text file in UTF-8",
            remedy="save it again with the encoding UTF-8",
        ) from None


def read_ids(path: Path) -> tuple[str, ...]:
    """The ids in a text file, one per line; blanks around them and empty lines do not count.

    A line that starts with ``# `` (or is ``#`` alone) is a comment, any other ``#`` belongs to an id. Comments are
    named in a :class:`~preceptor.utils.errors.PreceptorWarning`, so that an id such as ``# 12`` is not lost silently.

    Raises:
        PreceptorError: no such file, or one that is not text.
    """
    lines = [line.strip() for line in read_text(path, "a text file with one id per line").splitlines()]
    comments = [line for line in lines if line == "#" or line.startswith("# ")]
    if comments:
        warnings.warn(
            f"{path}: {len(comments)} line{'s are comments' if len(comments) > 1 else ' is a comment'} and not an id "
            f"({some_of(comments, 3)})",
            PreceptorWarning,
            stacklevel=2,
        )
    return tuple(line for line in lines if line and line not in comments)
