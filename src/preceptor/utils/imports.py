"""Python files that register a loss, recipe, reader, metric or task (``--import FILE``), without a package."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from preceptor.utils.errors import PreceptorError

#: Environment variable with the files imported so far, one per line: processes started from this one import them too.
VARIABLE = "PRECEPTOR_IMPORTS"


def import_files(files: Iterable[str | Path]) -> None:
    """Import each file once; what it registers is then known here and in processes started from here.

    Raises:
        PreceptorError: no such file, or one that fails when it is imported.
    """
    for file in files:
        path = Path(file).expanduser().resolve()
        if not path.is_file():
            raise PreceptorError(f"--import {file}: no such file", expected="a Python file")
        known = imported_files()
        if str(path) not in known:
            os.environ[VARIABLE] = "\n".join([*known, str(path)])
        _import(path)


def import_inherited() -> None:
    """Import the files that the process which started this one had imported."""
    for file in imported_files():
        _import(Path(file))


def imported_files() -> list[str]:
    """Absolute paths of the files imported so far, here or by the process that started this one."""
    return [file for file in os.environ.get(VARIABLE, "").split("\n") if file]


def _import(path: Path) -> None:
    name = f"preceptor_import_{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PreceptorError(f"--import {path}: is not a Python file", expected="a file ending in .py")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except PreceptorError:
        del sys.modules[name]
        raise
    except Exception as error:  # whatever the file does
        del sys.modules[name]
        raise PreceptorError(
            f"--import {path}: {type(error).__name__}: {error}{_line_of(error, path)}",
            expected="a Python file that can be imported",
        ) from error


def _line_of(error: Exception, path: Path) -> str:
    lines = [frame for frame in _frames(error) if frame[0] == str(path)]
    return f" (line {lines[-1][1]})" if lines else ""


def _frames(error: Exception) -> list[tuple[str, int]]:
    frames, here = [], error.__traceback__
    while here is not None:
        frames.append((here.tb_frame.f_code.co_filename, here.tb_lineno))
        here = here.tb_next
    return frames
