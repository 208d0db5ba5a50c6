"""Preceptor: knowledge distillation for medical images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["PreceptorError", "__version__", "load", "train"]

from preceptor.utils.errors import PreceptorError
from preceptor.version import __version__

if TYPE_CHECKING:
    from preceptor.api import load, train


def __getattr__(name: str) -> Any:
    """``preceptor.train`` and ``preceptor.load``, imported when asked for: torch takes seconds to import."""
    if name in ("train", "load"):
        from preceptor import api

        return getattr(api, name)
    raise AttributeError(f"module 'preceptor' has no attribute {name!r}")
