"""Whether a network that a run starts from has learned from the images that the run is judged by."""

from __future__ import annotations

import pandas as pd

from preceptor.data.split import UNLABELLED_PART, training_rows
from preceptor.runs.directory import Run
from preceptor.utils.errors import PreceptorError, some_of


def refuse_leak(key: str, source: Run, data: str, split: pd.DataFrame) -> None:
    """Refuse a network trained on another fold, which has seen this fold's test part, such as a teacher.

    Args:
        key: where the recipe names the network.
        source: the run that made the network; where its folder is no longer around the file, nothing is known and
            nothing refused.
        data: the reader of this run.
        split: of this run, with ``id`` and ``part``.

    Raises:
        PreceptorError: images of the validation or test part are among those that the network was trained on.
    """
    if not ((source.path / "split.csv").is_file() and source.exists):
        return
    record, theirs = source.environment.data, source.split
    if record.name != data:
        return  # ids of other data may be the same by chance
    learned = theirs[training_rows(theirs["part"].to_numpy(), source.recipe.unlabelled)]
    for part in ("test", "validation"):
        ours = split[split["part"] == part]
        unlabelled = learned["part"].eq(UNLABELLED_PART) & learned["group"].isin(ours["group"])
        overlap = sorted({*learned["id"]}.intersection(ours["id"]) | {*learned.loc[unlabelled, "id"]})
        if overlap:
            raise PreceptorError(
                f"{key}: {source.path} was trained on {len(overlap)} images of this run's {part} part "
                f"({some_of(overlap, 3)}); it is of fold {record.fold} of {record.folds}",
                expected="a network trained on the same fold of the same split",
                remedy="train one on this fold, or leave the run out and let the recipe train it first",
            )
