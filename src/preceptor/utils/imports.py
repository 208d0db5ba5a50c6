"""Python files that register a loss, recipe, reader, metric or task (``--import FILE``), without a package."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from hashlib import sha256
from importlib.abc import SourceLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import sha256_of
from preceptor.utils.registrations import undone_on_failure

#: Environment variable with the files imported so far, one per line: processes started from this one import them too.
VARIABLE = "PRECEPTOR_IMPORTS"


#: SHA-256 of the content that this process has run, by absolute path.
_executed: dict[str, str] = {}


def import_files(files: Iterable[str | os.PathLike[str]]) -> None:
    """Import each file once; what it registers is then known here and in processes started from here.

    Raises:
        PreceptorError: no such file, one that fails when it is imported, or one that was edited since this process
            imported it.
    """
    for file in files:
        path = Path(file).expanduser().resolve()
        if not path.is_file():
            raise PreceptorError(f"--import {file}: no such file", expected="a Python file")
        _import(path)
        if _executed.get(str(path), "") not in ("", sha256_of(path)):  # "" while it is importing itself
            raise PreceptorError(
                f"--import {file}: has changed since this Python imported it",
                remedy="start Python anew (in a notebook: restart the kernel)",
            )
        known = imported_files()
        if str(path) not in known:  # after it has been imported: others are not to fail with it
            os.environ[VARIABLE] = "\n".join([*known, str(path)])


def import_inherited() -> None:
    """Import the files that the process which started this one had imported."""
    for file in imported_files():
        _import(Path(file))


def imported_files() -> list[str]:
    """Absolute paths of the files imported so far, here or by the process that started this one."""
    return [file for file in os.environ.get(VARIABLE, "").split("\n") if file]


def imported_hashes() -> dict[str, str]:
    """Return the SHA-256 of what this process has run of each of :func:`imported_files`, whatever is on disk now."""
    import_inherited()
    return {file: _executed[file] for file in imported_files() if file in _executed}  # not one that still runs


def _import(path: Path) -> None:
    name = f"preceptor_import_{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    spec = spec_from_file_location(name, path)
    if spec is None or not isinstance(spec.loader, SourceLoader):
        raise PreceptorError(f"--import {path}: is not a Python file", expected="a file ending in .py")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PreceptorError(f"--import {path}: cannot be read ({error.strerror})", expected="a Python file") from error
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        with undone_on_failure():
            try:  # compiled here, not by the loader: what is run is what is hashed
                exec(spec.loader.source_to_code(content, str(path)), module.__dict__)
            except BaseException:
                del sys.modules[name]
                raise
    except PreceptorError:
        raise
    except (Exception, SystemExit) as error:  # whatever the file does
        raise PreceptorError(
            f"--import {path}: {type(error).__name__}: {error}{_line_of(error, path)}",
            expected="a Python file that can be imported",
        ) from error
    _executed[str(path)] = sha256(content).hexdigest()


def _line_of(error: BaseException, path: Path) -> str:
    lines = [frame for frame in _frames(error) if frame[0] == str(path)]
    return f" (line {lines[-1][1]})" if lines else ""


def _frames(error: BaseException) -> list[tuple[str, int]]:
    frames, here = [], error.__traceback__
    while here is not None:
        frames.append((here.tb_frame.f_code.co_filename, here.tb_lineno))
        here = here.tb_next
    return frames
