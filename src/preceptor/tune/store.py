"""Optuna: which values come next, and the storage that outlives an interruption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.tune.space import Dimension
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import seed_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial


def open_study(path: Path, first: Mapping[str, Any] | None) -> Study:
    """The trials so far, from a file that is made where there is none.

    Args:
        first: values that a new search begins with.

    Raises:
        PreceptorError: Optuna is not installed, or the file is damaged.
    """
    optuna = _optuna()
    from sqlalchemy.exc import SQLAlchemyError  # comes with Optuna

    try:
        study = optuna.create_study(
            storage=f"sqlite:///{path}", study_name="search", direction="maximize", load_if_exists=True
        )
        if not study.trials and first is not None:
            study.enqueue_trial(dict(first))
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error if isinstance(error, SQLAlchemyError) else error.__cause__
        raise PreceptorError(
            f"{path}: cannot be read as the trials of a search ({getattr(cause, 'orig', cause)})",
            remedy="put back a copy of it, or search anew with another --out",
        ) from None
    return study


def ask(study: Study, space: Sequence[Dimension], seed: int) -> tuple[int, dict[str, Any]]:
    """Number and values of the next trial, which depend on the seed, the number and the results before it."""
    number = len(study.trials) - len(study.get_trials(deepcopy=False, states=(_states().WAITING,)))
    study.sampler = _sampler(seed, number)
    asked = study.ask({one.key: _distribution(one) for one in space})
    return asked.number, asked.params


def fail(study: Study, number: int) -> None:
    study.tell(number, state=_states().FAIL)


def ended(study: Study) -> list[FrozenTrial]:
    return [one for one in study.get_trials(deepcopy=False) if one.state.is_finished()]


def running(study: Study) -> list[FrozenTrial]:
    """Those without an end: at work, or at work when the search was stopped."""
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


def _sampler(seed: int, number: int) -> BaseSampler:
    """Every trial draws from a seed of its own, so that a search which was stopped goes on as it would have."""
    return _optuna().samplers.TPESampler(seed=seed_of(seed, "tune", number) % 2**32)


def _distribution(one: Dimension) -> BaseDistribution:
    kinds = _optuna().distributions
    if one.kind == "choice":
        return kinds.CategoricalDistribution(list(one.values))
    if one.kind == "int":
        return kinds.IntDistribution(*one.values)
    return kinds.FloatDistribution(*one.values, log=one.kind == "log")
