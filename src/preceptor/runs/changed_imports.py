"""Whether the files of ``--import`` are still those that runs were started with."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError, PreceptorWarning, some_of
from preceptor.utils.imports import imported_hashes


def warn_of_changed_imports(runs: Iterable[Run], stacklevel: int = 2) -> None:
    """Warn of runs that were started with a file of the same name and another content: a loss may be another now.

    Files may have moved; runs of before their content was recorded are passed over.
    """
    hashes: dict[str, set[str]] = {}
    for file, executed in imported_hashes().items():
        hashes.setdefault(Path(file).name, set()).add(executed)
    changed: dict[str, list[str]] = {}
    for run in runs if hashes else ():
        with suppress(PreceptorError):  # of a damaged run: whoever goes on with it says so
            for file, recorded in run.environment.import_hashes.items() if run.exists else ():
                name = Path(file).name
                if name in hashes and recorded not in hashes[name]:
                    changed.setdefault(name, []).append(run.path.name)
    for name, of in changed.items():
        warnings.warn(
            f"{name} is not what it was when {some_of(of, 3)} started: what they have learned, they learned with the "
            "file of then; if it matters, remove these runs to train them anew",
            PreceptorWarning,
            stacklevel,
        )
