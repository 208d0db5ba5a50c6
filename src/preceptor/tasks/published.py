"""The task that a data set is published for: the default task of a recipe trained on it."""

from __future__ import annotations


def published_task(data: str) -> str | None:
    """Return the one task that a data set is published for; None where there are several, or it is one's own.

    Args:
        data: a reader's name.

    >>> published_task("aptos2019"), published_task("ham10000"), published_task("folder")
    ('ordinal', None, None)
    """
    from preceptor.data.readers import READERS  # heavy: pandas and all that reads files

    tasks = READERS[data].about.tasks if data in READERS else ()
    return tasks[0] if len(tasks) == 1 else None
