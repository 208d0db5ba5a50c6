"""Where the jobs of a study run: processes of this machine, or a Ray cluster. The results are the same."""

from __future__ import annotations

from typing import Protocol

from preceptor.study.outcome import Outcome
from preceptor.study.worker import Job


class Engine(Protocol):
    """Runs jobs, some at once, in any order; each in a process of its own."""

    #: How many jobs run at once, as far as the engine knows.
    workers: int

    def submit(self, job: Job) -> None:
        """Queues a job; returns at once."""
        ...

    def results(self, seconds: float) -> list[Outcome]:
        """Outcomes that have come since, waiting up to ``seconds`` for the first."""
        ...

    def running(self) -> set[str]:
        """Identities of the jobs at work."""
        ...

    def close(self) -> None:
        """Ends whatever still runs; it can be taken up again later."""
        ...
