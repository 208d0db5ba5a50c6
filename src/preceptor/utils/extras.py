"""Packages that only some commands need, and what to install where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from preceptor.utils.errors import PreceptorError


def require(extra: str, *modules: str) -> None:
    """Raise unless all modules of an extra can be imported.

    Args:
        extra: its name in ``pip install 'preceptor[EXTRA]'``.
        modules: top-level modules.

    Raises:
        PreceptorError: names those that are missing and the command that installs them.

    >>> require("export", "json")
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise PreceptorError(
            f"this needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            remedy=f"pip install 'preceptor[{extra}]'",
        )
