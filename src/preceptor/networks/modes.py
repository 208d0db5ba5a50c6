"""Evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Context manager: evaluation mode inside; afterwards every submodule has its own flag back, also after an error.

    ``module.train(mode)`` would give all of them the flag of the top one, and set a frozen part to training.
    """
    flags = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, training in flags:
            part.training = training
