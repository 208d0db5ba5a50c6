"""The examples in the docstrings of all losses run, and every registered loss has one."""

from __future__ import annotations

import doctest
import importlib
from pkgutil import iter_modules

import pytest
import torch

import preceptor.losses
from preceptor.losses.registry import LOSSES

MODULES = [
    "preceptor.losses",
    *(f"preceptor.losses.{module.name}" for module in iter_modules(preceptor.losses.__path__)),
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module: str) -> None:
    torch.manual_seed(0)
    assert doctest.testmod(importlib.import_module(module)).failed == 0


@pytest.mark.parametrize("loss", list(LOSSES))
def test_every_loss_has_an_example(loss: str) -> None:
    assert ">>> " in (LOSSES[loss].module.__doc__ or "")


def test_every_loss_can_be_imported_from_the_package() -> None:
    """For whoever only wants a loss in a loop of their own."""
    ours = {
        spec.module
        for spec in map(LOSSES.__getitem__, LOSSES)
        if spec.module.__module__.startswith("preceptor.losses.")
    }
    assert {module.__name__ for module in ours} <= set(preceptor.losses.__all__)
    assert all(getattr(preceptor.losses, module.__name__) is module for module in ours)
