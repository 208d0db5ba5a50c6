"""Files of arrays that a run keeps for its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preceptor.utils.errors import PreceptorError


def read_arrays(path: Path, names: Sequence[str], only: Sequence[str] | None = None) -> dict[str, NDArray[Any]] | None:
    """The arrays of a run's file, or None where the run has no such file.

    Args:
        names: that it must have.
        only: those to read, where not all are wanted (or fit into memory at once, over many runs).

    Raises:
        PreceptorError: the file is broken, or lacks one of ``names``.
    """
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as held:
            files = held.files
            arrays = {name: held[name] for name in files if only is None or name in only}
    except Exception as error:  # of any type: zip, zlib and numpy each trip over damaged bytes in their own way
        raise PreceptorError(f"{path} cannot be read: {error}", remedy=again(path)) from None
    if missing := [name for name in names if name not in files]:
        raise PreceptorError(f"{path} cannot be read: it lacks {', '.join(missing)}", remedy=again(path))
    return arrays


def again(path: Path) -> str:
    """How a file that does not fit is made again."""
    return f"remove it, then preceptor evaluate {path.parent}"
