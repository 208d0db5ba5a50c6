"""Whether a folder may become a run, a study or a search: checked before anything is read, and without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import name_when_whole, refuse_unwritable, remove_halves

Kind = Literal["run", "study", "search"]
#: Held, in its folder, by the process that is at work on a run, a study or a search.
LOCK = ".lock"
FIRST = ("recipe.yaml", "split.csv", "environment.json")  # as they are written; with the last it is a run
#: What a start leaves that was killed before its folder could be recognised.
_FIRST_OF: dict[Kind, tuple[str, ...]] = {"run": FIRST, "study": ("study.yaml",), "search": ("search.yaml",)}
_BESIDE_PLANS = (".yaml", ".yml", ".py")  # a plan, recipes that it names, and files given with --import


def refuse_occupied(out: Path) -> None:
    """Raise :class:`PreceptorError` unless ``out`` is new, empty, or left by a run that was killed while starting."""
    refuse_unless_folder(out)
    refuse_unwritable(out)
    if (held := kind_of(out)) is not None:
        go_on = f"continue it (preceptor resume {out}), or " if held == "run" else ""
        raise _held(out, held, f"{go_on}choose another --out")
    for name in FIRST:
        remove_halves(out / name)
    _refuse_strange(out, "run")


def refuse_occupied_by_other(out: Path, kind: Kind) -> None:
    """Raise unless a study or a search may begin in ``out`` or go on there; nothing is written or removed.

    A study may also begin beside its plan: in a folder that holds nothing but YAML and Python files.

    Raises:
        PreceptorError: ``out`` is a file, or holds anything else than this kind of thing or what a killed start left.
    """
    refuse_unless_folder(out)
    held = kind_of(out)
    if held is None:
        _refuse_strange(out, kind)
    elif held != kind:
        raise _held(out, held, "choose another --out")


def refuse_unless_folder(out: Path) -> None:
    """Raise :class:`PreceptorError` if ``out`` is a file."""
    if out.exists() and not out.is_dir():
        raise PreceptorError(f"--out {out}: is a file", expected="a folder that is new or empty")


def kind_of(folder: Path) -> Kind | None:
    """What a folder holds, by the records in it; None where nothing of ours was begun."""

    def holds(*names: str) -> bool:
        return any((folder / name).is_file() for name in names)

    if holds("cells.json", "shared.json"):
        return "study"
    if holds("search.yaml", "trials.db"):
        return "search"
    if holds("environment.json"):
        return "study" if holds("study.yaml") and not holds("recipe.yaml") else "run"
    return None


def _held(out: Path, held: Kind, remedy: str) -> PreceptorError:
    return PreceptorError(
        f"--out {out}: holds a {held} already", expected="a folder that is new or empty", remedy=remedy
    )


def _refuse_strange(out: Path, kind: Kind) -> None:
    for path in sorted(out.iterdir()) if out.is_dir() else []:
        name = name_when_whole(path) if kind != "run" else path.name  # halves of a run were removed
        beside = kind == "study" and path.suffix in _BESIDE_PLANS and path.is_file()
        if name not in (*_FIRST_OF[kind], LOCK) and not beside:
            raise PreceptorError(
                f"--out {out}: holds {path.name!r}, which no {kind} wrote",
                expected="a new or empty folder",
                remedy="choose another --out",
            )
