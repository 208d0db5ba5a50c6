"""Warnings of several processes, shown once, by the process that the user has started.

All processes build and train the same, so what rank 0 warns of is what all would. It goes to the first process, which
shows warnings as its caller wants them (the command line as notes) and knows what it has shown itself.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from preceptor.utils.errors import PreceptorWarning

_PATIENCE = 5.0  # seconds for a process that is ended to let go of the pipe


@contextmanager
def shown_here() -> Iterator[Connection]:
    """Context manager of the first process: yields what :func:`forward_warnings` sends into; shows what comes."""
    receive, send = multiprocessing.get_context("spawn").Pipe(duplex=False)
    reader = threading.Thread(target=_show_all, args=(receive,), daemon=True)
    reader.start()
    try:
        yield send
    finally:
        send.close()  # with the end of the others, that is the end of the pipe
        reader.join(_PATIENCE)


def forward_warnings(rank: int, send: Connection) -> None:
    """From now on a process of this rank sends its :class:`PreceptorWarning`, or drops it unless the rank is 0."""
    ignore_beside_first(rank)
    show = warnings.showwarning

    def forward(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: Any, **more: Any
    ) -> None:
        if issubclass(category, PreceptorWarning):
            send.send((message, filename, lineno))
        else:
            show(message, category, filename, lineno, *rest, **more)

    warnings.showwarning = forward  # type: ignore[assignment]


def ignore_beside_first(rank: int) -> None:
    """Drop every further :class:`PreceptorWarning` of this process unless its rank is 0."""
    if rank:
        warnings.simplefilter("ignore", PreceptorWarning)


def _show_all(receive: Connection) -> None:
    while True:
        try:
            message, filename, lineno = receive.recv()
        except (EOFError, OSError):
            return
        warnings.warn_explicit(message, PreceptorWarning, filename, lineno, registry=_registry(filename))


def _registry(filename: str) -> dict[Any, Any]:
    """What this process has shown of a file's warnings, as :func:`warnings.warn` keeps it."""
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == filename:
            registry: dict[Any, Any] = vars(module).setdefault("__warningregistry__", {})
            return registry
    return {}
