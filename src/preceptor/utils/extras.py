"""Packages that only some commands need, and what to install where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from preceptor.utils.errors import PreceptorError, some_of

#: Modules of the extra ``train``: what trains a network, loads a trained one or draws a report.
TRAINING = (
    "torch", "torchvision", "timm", "segmentation_models_pytorch", "lightning_fabric", "safetensors", "tensorboard",
    "jinja2", "matplotlib",
)  # fmt: skip


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
            f"this needs {some_of(missing, 4)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            remedy=f"pip install 'preceptor[{extra}]'",
        )


def require_training() -> None:
    """Raise unless PyTorch and what else trains is installed; only exported networks are used without it.

    Raises:
        PreceptorError: names what is missing and the command that installs it.
    """
    require("train", *TRAINING)
