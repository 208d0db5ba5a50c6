"""What a file registered before it failed, so that none of it stays."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Of each import in progress: the module that registered something, and what takes it back.
_journals: list[list[tuple[str, Callable[[], None]]]] = []


def note_registration(undo: Callable[[], None]) -> None:
    """Remember how to take back what is being registered, while a file is imported."""
    if _journals:
        module = _module_being_imported()
        for journal in _journals:
            journal.append((module, undo))


@contextmanager
def undone_on_failure() -> Iterator[None]:
    """Context manager: if the import inside fails, take back what modules registered that are not loaded after it.

    Modules that were imported whole on the way are not run a second time, so what they registered stays.
    """
    journal: list[tuple[str, Callable[[], None]]] = []
    _journals.append(journal)
    try:
        yield
    except BaseException:
        for module, undo in journal:
            if module not in sys.modules:
                undo()
        raise
    finally:
        _journals.pop()


def _module_being_imported() -> str:
    frame = sys._getframe(1)
    while frame.f_code.co_name != "<module>" and frame.f_back is not None:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "__main__"))
