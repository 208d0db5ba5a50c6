"""Whether a network that a run starts from has learned from the images that the run is judged by."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from preceptor.errors import PreceptorError, some_of


def refuse_leak(key: str, file: Path, data: str, split: pd.DataFrame) -> None:
    """Folds do not leak through a teacher either: one of another fold has seen this fold's test part.

    Args:
        key: where the recipe names the network.
        file: the network's file; where its run's folder is no longer around it, nothing is known and nothing refused.
        data: the reader of this run.
        split: of this run, with ``id`` and ``part``.

    Raises:
        PreceptorError: images of the validation or test part are among those that the network was trained on.
    """
    where = file.parent
    if not (where / "split.csv").is_file() or not (where / "environment.json").is_file():
        return
    said = json.loads((where / "environment.json").read_text(encoding="utf-8"))["data"]
    if said["name"] != data:
        return  # ids of other data may be the same by chance
    theirs = pd.read_csv(where / "split.csv", dtype=str, keep_default_na=False)
    learned = set(theirs.loc[theirs["part"] == "train", "id"])
    for part in ("test", "validation"):
        seen = sorted(learned.intersection(split.loc[split["part"] == part, "id"]))
        if seen:
            raise PreceptorError(
                f"{key}: {where} was trained on {len(seen)} images of this run's {part} part ({some_of(seen, 3)}); "
                f"it is of fold {said['fold']} of {said['folds']}",
                expected="a network trained on the same fold of the same split",
                remedy="train one on this fold, or leave the run out and let the recipe train it first",
            )
