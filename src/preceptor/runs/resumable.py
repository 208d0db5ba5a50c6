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
    environment = run.environment
    remedy = f"put the file back as it was, or train a new run (preceptor train {run.path / 'recipe.yaml'} …)"
    if split_hash(run.split) != environment.split_hash:
        raise PreceptorError(
            f"{run.path / 'split.csv'}: the parts were changed since the run was started",
            expected=f"split {environment.split_hash[:12]}…",
            remedy=remedy,
        )
    if environment.recipe_hash not in ("", run.recipe_hash):  # format 1 has none
        raise PreceptorError(
            f"{run.path / 'recipe.yaml'}: the recipe was changed since the run was started",
            expected=f"recipe {environment.recipe_hash[:12]}…",
            remedy=remedy,
        )
