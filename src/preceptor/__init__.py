"""Preceptor: knowledge distillation for medical images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["PreceptorError", "__version__", "export", "load", "train"]

from preceptor.utils.errors import PreceptorError
from preceptor.version import __version__

if TYPE_CHECKING:
    from preceptor.api import export, load, train


def __getattr__(name: str) -> Any:
    """``preceptor.train`` and the like, imported when asked for: torch takes seconds to import."""
    if name in __all__:
        from preceptor import api

        return getattr(api, name)
    raise AttributeError(f"module 'preceptor' has no attribute {name!r}")
