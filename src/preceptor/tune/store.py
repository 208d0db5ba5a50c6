"""Optuna: which values come next, and the storage that outlives an interruption."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.tune.space import Dimension, Value, combinations
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import seed_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

_PROPOSALS = 20  # of the sampler, before any combination that was not tried is as good


def open_study(path: Path, first: Mapping[str, Any] | None) -> Study:
    """The trials so far, from a file that is made where there is none.

    Args:
        first: values that a new search begins with.

    Raises:
        PreceptorError: Optuna is not installed, or the file is damaged.
    """
    try:
        study = _stored_study(path)
        if not study.trials and first is not None:
            study.enqueue_trial(dict(first))
    except Exception as error:  # of any type: SQLite, SQLAlchemy and Optuna each read a part of the file
        if _is_full(error):
            raise _unwritable(path, error) from None
        raise PreceptorError(
            f"{path}: cannot be read as the trials of a search ({_of_sqlite(error)})",
            remedy="put back a copy of it, or search anew with another --out",
        ) from None
    return study


def _stored_study(path: Path) -> Study:
    study: Study = _optuna().create_study(
        storage=f"sqlite:///{path}", study_name="search", direction="maximize", load_if_exists=True
    )
    return study


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Trials are written to ``path`` within.

    Raises:
        PreceptorError: they cannot be, such as on a full disk.
    """
    try:
        yield
    except _optuna().exceptions.StorageInternalError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: Exception) -> PreceptorError:
    return PreceptorError(
        f"{path}: a trial cannot be written ({_of_sqlite(error)})",
        remedy="make room if the disk is full; the same command then continues",
    )


def _of_sqlite(error: Exception) -> object:
    """Return SQLite's own error, which SQLAlchemy wraps once and Optuna twice."""
    cause = error.__cause__ if isinstance(error, _optuna().exceptions.StorageInternalError) else error
    return getattr(cause, "orig", cause)


def _is_full(error: Exception) -> bool:
    code = getattr(_of_sqlite(error), "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def ask(study: Study, space: Sequence[Dimension], seed: int) -> tuple[int, dict[str, Any]]:
    """Return number and values of the next trial, which depend on the seed, the number and the results before it.

    Values that were tried are not tried again: a trial is deterministic, and would only repeat its result.
    """
    waiting = study.get_trials(deepcopy=False, states=(_states().WAITING,))
    number = waiting[0].number if waiting else len(study.trials)
    if not waiting and (untried := _untried(study, space)):
        study.enqueue_trial(_proposed(study, space, seed, number, untried))
    study.sampler = _sampler(seed, number)
    asked = study.ask(_distributions(space))
    return asked.number, asked.params


def all_tried(study: Study, space: Sequence[Dimension]) -> bool:
    """Return whether nothing is left to try; never of numbers that are not whole."""
    waiting = study.get_trials(deepcopy=False, states=(_states().WAITING,))
    return combinations(space) is not None and not waiting and not _untried(study, space)


def _untried(study: Study, space: Sequence[Dimension]) -> list[dict[str, Value]]:
    tried = [trial.params for trial in study.get_trials(deepcopy=False)]
    return [values for values in combinations(space) or () if values not in tried]


def _proposed(
    study: Study, space: Sequence[Dimension], seed: int, number: int, untried: Sequence[dict[str, Value]]
) -> dict[str, Value]:
    """Return the first of the sampler's proposals that was not tried, or else any such combination."""
    copy = _optuna().create_study(direction="maximize")
    copy.add_trials(ended(study))
    for attempt in range(_PROPOSALS):
        copy.sampler = _sampler(seed, number, *([attempt] if attempt else []))
        asked = copy.ask(_distributions(space))
        if asked.params in untried:
            return dict(asked.params)
        copy.tell(asked, state=_states().FAIL)
    return untried[seed_of(seed, "tune", number, "any") % len(untried)]


def fail(study: Study, number: int) -> None:
    study.tell(number, state=_states().FAIL)


def failed(study: Study, keys: Sequence[str]) -> list[int]:
    """Return the numbers of trials that failed with a value for every key."""
    trials = study.get_trials(deepcopy=False, states=(_states().FAIL,))
    return [trial.number for trial in trials if trial.params.keys() == set(keys)]


def requeue(study: Study, path: Path, numbers: Sequence[int]) -> Study:
    """Write the store anew, in one step, with these trials waiting for their turn; numbers and values stay.

    Optuna does not reopen a trial that has ended.

    Raises:
        PreceptorError: it cannot be written, such as on a full disk; the store is then as it was.
    """
    written = path.with_suffix(".new")
    written.unlink(missing_ok=True)
    try:
        copy = _stored_study(written)
        for trial in study.get_trials(deepcopy=False):
            if trial.number in numbers:
                copy.enqueue_trial(trial.params)
            else:
                copy.add_trial(trial)
    except Exception as error:  # as of :func:`open_study`
        if _is_full(error):
            raise _unwritable(path, error) from None
        raise
    written.replace(path)
    return _stored_study(path)


def undecided(study: Study) -> list[FrozenTrial]:
    """Return the trials that have a value, or may still get one: they run, or ran when the search was stopped."""
    return study.get_trials(deepcopy=False, states=(_states().COMPLETE, _states().PRUNED, _states().RUNNING))


def ended(study: Study) -> list[FrozenTrial]:
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def running(study: Study) -> list[FrozenTrial]:
    """Return the trials without an end: running, or running when the search was stopped."""
    return study.get_trials(deepcopy=False, states=(_states().RUNNING,))


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise PreceptorError("a search needs Optuna", remedy="pip install 'preceptor[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _states() -> Any:
    return _optuna().trial.TrialState


def _sampler(seed: int, *number: int) -> BaseSampler:
    """Seed every trial by its number, so that a stopped search continues as it would have."""
    return _optuna().samplers.TPESampler(seed=seed_of(seed, "tune", *number) % 2**32)


def _distributions(space: Sequence[Dimension]) -> dict[str, BaseDistribution]:
    return {dimension.key: _distribution(dimension) for dimension in space}


def _distribution(dimension: Dimension) -> BaseDistribution:
    kinds = _optuna().distributions
    if dimension.kind == "choice":
        return kinds.CategoricalDistribution(list(dimension.values))
    if dimension.kind == "int":
        return kinds.IntDistribution(*dimension.values)
    return kinds.FloatDistribution(*dimension.values, log=dimension.kind == "log")
