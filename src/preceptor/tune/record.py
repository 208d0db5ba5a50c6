"""What a search is, and what it writes: how each trial ended, ``trials.csv`` and ``best.yaml``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.recipe import Recipe
from preceptor.recipes.resolve import resolve, to_yaml
from preceptor.runs.create import Data
from preceptor.tune.space import Dimension, Value
from preceptor.utils.errors import PreceptorError
from preceptor.utils.files import write_text

if TYPE_CHECKING:
    import optuna

SEARCH, STORE, BEST, TABLE, OUTCOME = "search.yaml", "trials.db", "best.yaml", "trials.csv", "trial.json"


@dataclass(frozen=True)
class Search:
    """What is searched, and where; the same again goes on where it was stopped.

    Attributes:
        recipe: a recipe's name or file.
        overrides: settings that stay as they are.
        space: what is tried.
        out: the folder of all that is written.
        seed: of the draws; the trials themselves all have the recipe's seed.
    """

    recipe: str
    overrides: Mapping[str, Any]
    space: Sequence[Dimension]
    data: Data
    out: Path
    seed: int = 0
    devices: int = 1
    cache: Path | None = None
    quiet: bool = True
    say: Callable[[str], None] = field(default=lambda text: None)

    @property
    def stored(self) -> Path:
        return self.out / STORE

    def resolved(self, values: Mapping[str, Value]) -> Recipe:
        return resolve(self.recipe, {**self.overrides, **values})

    def folder(self, number: int) -> Path:
        """Of one trial."""
        return self.out / "trials" / f"{number:04d}"

    def write_outcome(self, number: int, **outcome: Any) -> dict[str, Any]:
        """Write down how a trial ended, and return it."""
        write_text(self.folder(number) / OUTCOME, json.dumps(outcome, indent=2) + "\n")
        return outcome

    def outcome(self, number: int) -> dict[str, Any]:
        """Return how a trial ended; an empty mapping for one that did not.

        Raises:
            PreceptorError: the file is damaged.
        """
        path = self.folder(number) / OUTCOME
        if not path.is_file():
            return {}
        try:
            outcome = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError):  # no JSON, no UTF-8, or not to be read at all
            outcome = None
        if not _is_outcome(outcome):
            raise PreceptorError(
                f"{path}: is damaged, and does not say how trial {number} ended",
                remedy=f"remove {path.parent}: the trial is trained again, unless {STORE} knows its value, which stays",
            )
        return outcome


def _is_outcome(value: object) -> bool:
    """Return whether this is what :meth:`Search.write_outcome` writes of a failed trial, or of one with a value."""
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("error"), str) or (isinstance(value.get("value"), float) and "epoch" in value)


@dataclass(frozen=True)
class Trial:
    """One set of values that was tried.

    Attributes:
        number: from 0 on.
        values: of the searched keys.
        value: of the selection metric in its best epoch; None of one that failed.
        epoch: the best one, from 1; None where it is not known.
        epochs: how many there were.
        seconds: that it took.
        error: why it failed.
    """

    number: int
    values: dict[str, Value]
    value: float | None
    epoch: int | None
    epochs: int | None
    seconds: float
    error: str


def write_trials(search: Search, ended: Sequence[optuna.trial.FrozenTrial]) -> list[Trial]:
    """Write ``trials.csv``, and ``best.yaml`` once there is a best one; return all trials, the best first."""
    trials = [_trial(search, frozen) for frozen in ended]
    write_text(search.out / TABLE, _table(search, trials))
    ranked = sorted(trials, key=lambda trial: (trial.value is None, -(trial.value or 0.0), trial.number))
    if ranked and ranked[0].value is not None:
        write_text(search.out / BEST, _best(search, ranked[0], len(trials)))
    return ranked


def _trial(search: Search, frozen: optuna.trial.FrozenTrial) -> Trial:
    outcome = search.outcome(frozen.number)
    return Trial(
        number=frozen.number,
        values=dict(frozen.params),
        value=frozen.value,
        epoch=outcome.get("epoch"),
        epochs=outcome.get("epochs"),
        seconds=float(outcome.get("seconds", 0.0)),
        error=str(outcome.get("error", "")),
    )


def _best(search: Search, best: Trial, trials: int) -> str:
    recipe = search.resolved(best.values)
    fold = search.data.fold
    judged = f"validation/{' + '.join(recipe.select.networks)}/{recipe.select.metric}"
    values = ", ".join(f"{key}={value}" for key, value in best.values.items())
    when = f" in epoch {best.epoch}" if best.epoch is not None else ""
    return (
        f"# The best of {trials} trials: {judged} {best.value:.4f}{when}.\n"
        f"# Trial {best.number}: {values}\n"
        "# That figure was searched for and is too good; preceptor train finds the one to report.\n"
        f"# Searched on fold {fold}; train it with --fold {fold}. The search trained on the test images of the other\n"
        "# folds, or chose by them: figures of those folds are too good.\n\n" + to_yaml(recipe)
    )


def _table(search: Search, trials: Sequence[Trial]) -> str:
    keys = [dimension.key for dimension in search.space]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "value", "epoch", "epochs", "seconds", *keys, "error"])
    for trial in trials:
        values = [trial.values.get(key) for key in keys]
        outcome = [trial.number, trial.value, trial.epoch, trial.epochs, round(trial.seconds, 1)]
        writer.writerow([*outcome, *values, trial.error])
    return text.getvalue()
