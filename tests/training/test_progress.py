"""What a run prints after an epoch."""

from __future__ import annotations

import io

from rich.console import Console

from preceptor.recipe import Recipe
from preceptor.training.checkpoint import Progress
from preceptor.training.progress import Display
from small_recipe import plain


def test_an_epoch_shows_the_metric_that_chooses_it_alone() -> None:
    text = io.StringIO()
    display = Display("run", console=Console(file=text, highlight=False))
    display.start(Recipe.model_validate(plain(select={"metric": "accuracy"})), epoch=0, steps=4)
    row = {
        "loss": 1.5,
        "validation/big_student/accuracy": 0.75,
        "validation/student/accuracy": 0.5,
        "validation/student/balanced_accuracy": 0.25,
        "seconds": 2.0,
    }
    display.epoch(Progress(epoch=1, history=[row]))
    assert "validation/student/accuracy 0.500" in text.getvalue()
    assert "0.750" not in text.getvalue()
    assert "0.250" not in text.getvalue()
