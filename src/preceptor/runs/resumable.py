"""Whether a run is still the one that was started, before it goes on."""

from __future__ import annotations

from preceptor.data.split import split_hash
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError


def check_unchanged(run: Run) -> None:
    """Check recipe and split of a run against the hashes that were taken when it was started.

    Raises:
        PreceptorError: ``recipe.yaml`` or ``split.csv`` was changed since.
    """
    recorded = run.environment.split_hash
    if split_hash(run.split) != recorded:
        raise PreceptorError(
            f"{run.path / 'split.csv'}: the parts were changed since the run was started",
            expected=f"split {recorded[:12]}…",
            remedy=f"put the file back as it was, or train a new run (preceptor train {run.path / 'recipe.yaml'} …)",
        )
    _ = run.recipe  # refuses an edited one
