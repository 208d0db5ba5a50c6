"""An objective whose loss has no gradient teaches nothing, however much it weighs: it is named."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from conftest import TINY
from preceptor.recipes.resolve import validate
from preceptor.runs.complete import train_run
from preceptor.runs.create import Data
from preceptor.utils.errors import PreceptorError, PreceptorWarning

CE = {"loss": "cross_entropy", "of": "student"}


class Detached(nn.Module):
    """Read the logits without their gradient."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits.detach().square().mean()


class Late(nn.Module):
    """Have a gradient from the second step on, as a loss has that must fill a bank first."""

    steps = 0

    def forward(self, logits: Tensor) -> Tensor:
        self.steps += 1
        return (logits if self.steps > 1 else logits.detach()).square().mean()


def messages(objectives: list[dict[str, Any]], root: Path, folder: Path) -> list[str]:
    """Train with these objectives; the warnings of it."""
    recipe = validate(
        {
            "name": "constant",
            **TINY,
            "epochs": 3,
            "networks": {"student": {"backbone": "test_efficientnet", "pretrained": "none"}},
            "views": {"student": "dermoscopy"},
            "objectives": objectives,
        },
        "constant",
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PreceptorWarning)
        train_run(recipe, Data("phantom", root), folder)
    return [str(each.message) for each in caught if each.category is PreceptorWarning and "gradient" in str(each)]


def test_an_objective_without_a_gradient_is_named_once(register: Any, phantom_root: Path, tmp_path: Path) -> None:
    register("detached", Detached)
    register("late", Late)
    ramp = {"steps": {0: 0.0, 1: 0.5}}  # counts from the second epoch on
    objectives = [CE, {"loss": "detached", "of": "student", "weight": ramp}, {"loss": "late", "of": "student"}]
    (message,) = messages(objectives, phantom_root, tmp_path / "run")
    assert "objectives.detached: the loss has no gradient in any step of epoch 2" in message


def test_objectives_that_all_have_no_gradient_are_refused(register: Any, phantom_root: Path, tmp_path: Path) -> None:
    register("detached", Detached)
    with pytest.raises(PreceptorError, match="none of detached has a gradient in epoch 1"):
        messages([{"loss": "detached", "of": "student"}], phantom_root, tmp_path / "run")
