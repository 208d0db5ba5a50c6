"""The examples in the docstrings of the losses run as they stand."""

from __future__ import annotations

import doctest
from importlib import import_module
from pkgutil import iter_modules

import pytest
import torch

import preceptor.losses


@pytest.mark.parametrize("name", [module.name for module in iter_modules(preceptor.losses.__path__)])
def test_examples_run(name: str) -> None:
    torch.manual_seed(0)
    result = doctest.testmod(import_module(f"preceptor.losses.{name}"))
    assert result.failed == 0
