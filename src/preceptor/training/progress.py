"""What a run shows while it works: bars on a terminal, one line per epoch anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from preceptor.recipe import Recipe
from preceptor.training.checkpoint import Progress as RunProgress


class Display:
    """Bars and lines of one run. ``quiet`` shows nothing (other ranks, tests, the Python API)."""

    def __init__(self, title: str, quiet: bool = False, console: Console | None = None) -> None:
        self.title, self.console = title, console or Console(quiet=quiet, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=self.console, transient=True, disable=quiet or not self.console.is_terminal,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._watched: list[str] = []

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def start(self, recipe: Recipe, epoch: int, steps: int) -> None:
        """Before the first epoch of this session; ``steps`` of each epoch."""
        self._epochs = recipe.epochs
        self._watched = [f"validation/{name}/{recipe.select.metric}" for name in recipe.select.networks]
        self._task = self._bars.add_task(self.title, total=recipe.epochs * steps, completed=epoch * steps)

    def step(self) -> None:
        if self._task is not None:
            self._bars.advance(self._task)

    def epoch(self, progress: RunProgress) -> None:
        row = progress.history[-1]
        watched = "  ".join(f"{k} {v:.3f}" for k, v in row.items() if k in self._watched)
        best = "  best so far" if progress.best_epoch == progress.epoch else ""
        self.say(
            f"{self.title}  epoch {progress.epoch}/{self._epochs}  loss {row['loss']:.4f}  {watched}"
            f"  {row['seconds']:.1f} s{best}"
        )

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar for ``total`` things; yields the function that moves it by some."""
        task = self._bars.add_task(what, total=total)
        try:
            yield lambda done: self._bars.advance(task, done)
        finally:
            self._bars.remove_task(task)
