"""What the same command tries again, and when a folder may be taken for another search: failures are no results."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from preceptor.tune.record import OUTCOME, TABLE, Search
from preceptor.tune.store import failed, requeue, undecided

if TYPE_CHECKING:
    from optuna import Study


def retry_failed(search: Search, study: Study) -> Study:
    """Put trials that failed back in the queue, with their numbers, values and finished epochs; return the new store.

    Their notes are removed first: where this is interrupted, the store still calls them failed, and they are found
    again.
    """
    numbers = failed(study, [dimension.key for dimension in search.space])
    if not numbers:
        return study
    count = "a trial" if len(numbers) == 1 else f"{len(numbers)} trials"
    search.say(f"{count} that failed before: tried again")
    for number in numbers:
        (search.folder(number) / OUTCOME).unlink(missing_ok=True)
    return requeue(study, search.stored, numbers)


def holds_nothing(search: Search, study: Study) -> bool:
    """Whether no trial has a value or may still get one, so that another search in this folder would lose no result."""
    names = [path.name for path in (search.out / "trials").glob("*")]
    return not undecided(study) and all(name.isdigit() and "error" in search.outcome(int(name)) for name in names)


def discard(search: Search) -> None:
    """Remove all trials; networks that were trained first stay, since each is known by what it was trained from."""
    search.stored.unlink(missing_ok=True)
    shutil.rmtree(search.out / "trials", ignore_errors=True)
    (search.out / TABLE).unlink(missing_ok=True)
