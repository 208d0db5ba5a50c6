"""The contract that every loss keeps, ours or a plug-in's, checked from its registration alone.

    from preceptor.testing import check_loss
    check_loss("kl")

Each clause is a small function in :mod:`preceptor.testing.clauses`; its docstring says what is promised. A method that
cannot keep a clause registers an exception with the reason, which is checked to be needed.
"""

from __future__ import annotations

from collections.abc import Iterable

from preceptor.losses.registry import LOSSES, LossSpec
from preceptor.testing.clauses import CLAUSES
from preceptor.utils.errors import PreceptorError, did_you_mean

__all__ = ["CLAUSES", "ContractError", "check_loss"]


class ContractError(AssertionError):
    """A loss does not keep a clause of the contract; the message names both."""


def check_loss(loss: str | LossSpec, clauses: Iterable[str] | None = None) -> None:
    """Check a loss against the contract, on the CPU, with the inputs of its own ``example``.

    Args:
        loss: a registered name, or a spec.
        clauses: names from :data:`CLAUSES`; all of them by default.

    Raises:
        ContractError: lists every clause that failed, and why; also a declared exception that is not needed.
        PreceptorError: no such loss or clause.

    >>> check_loss("kl")
    """
    spec = LOSSES[loss] if isinstance(loss, str) else loss
    names = list(CLAUSES if clauses is None else clauses)
    for name in (*names, *spec.exceptions):
        if name not in CLAUSES:
            raise PreceptorError(f"there is no clause {name!r}.{did_you_mean(name, CLAUSES)}")
    broken = [f"  {name}: {failure}" for name in names if (failure := _failure(spec, name))]
    if broken:
        raise ContractError("\n".join([f"loss {spec.name!r} breaks the contract:", *broken]))


def _failure(spec: LossSpec, name: str) -> str:
    """Why a loss fails a clause, or an empty string; with a declared exception it has to fail."""
    reason = spec.exceptions.get(name)
    failure = ""
    try:
        CLAUSES[name](spec)
    except Exception as error:  # a loss that crashes breaks the clause too
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        failure = f"{kind}{error}"
    if reason is None:
        return failure
    if not reason.strip():
        return "the declared exception has no reason"
    return "" if failure else f"keeps the clause, so that the declared exception ({reason}) is not needed"
