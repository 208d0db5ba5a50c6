"""Whether a folder may become a run: checked before anything is read, and without torch."""

from __future__ import annotations

from pathlib import Path

from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import refuse_unwritable, remove_halves

#: Held, in its folder, by the process that is at work on a run.
LOCK = ".lock"
FIRST = ("recipe.yaml", "split.csv", "environment.json")  # as they are written; with the last it is a run


def refuse_occupied(out: Path) -> None:
    """Raise :class:`PreceptorError` unless ``out`` is new, empty, or left by a run that was killed while starting."""
    if out.exists() and not out.is_dir():
        raise PreceptorError(f"--out {out}: is a file", expected="a folder that is new or empty")
    refuse_unwritable(out)
    if (out / "environment.json").is_file():
        raise PreceptorError(
            f"--out {out}: holds a run already",
            expected="a folder that is new or empty",
            remedy=f"go on with it (preceptor resume {out}), or choose another --out",
        )
    for name in FIRST:
        remove_halves(out / name)
    strange = [path.name for path in out.iterdir() if path.name not in (*FIRST, LOCK)] if out.is_dir() else []
    if strange:
        raise PreceptorError(f"--out {out}: holds {strange[0]!r}, which no run wrote", expected="a new or empty folder")
