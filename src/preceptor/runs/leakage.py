"""Whether a network that a run starts from has learned from the images that the run is judged by."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.copies import Contents
from preceptor.data.readers import same_ids
from preceptor.data.sources import is_member
from preceptor.data.split import UNLABELLED_PART, training_rows
from preceptor.runs.data import Data
from preceptor.runs.directory import Run
from preceptor.runs.known_images import what_is_left
from preceptor.utils.errors import PreceptorError, PreceptorWarning, some_of


def refuse_leak(key: str, file: Path, data: Data, split: pd.DataFrame) -> None:
    """Refuse a network that was trained on images of this fold's validation or test part, such as a teacher.

    Of the same data, of one published data set, or of several of one archive (ISIC's), images are the same by their
    ids; of other data by their files' content. A :class:`PreceptorWarning` says where nothing can be compared: the file
    lies in no run's folder, or its images are gone.

    Args:
        key: where the recipe names the network.
        file: of the network.
        data: of this run.
        split: of this run, with ``id``, ``group`` and ``part``.

    Raises:
        PreceptorError: images of the validation or test part are among those that the network was trained on.
    """
    source = Run(file.parent)
    if not ((source.path / "split.csv").is_file() and source.exists):
        _warn_of(key, f"{file} lies in no run's folder, so that nothing is known of its images")
        return
    known_by_id = _has_the_same_ids(source, data)
    same_data = known_by_id and source.environment.data.name == data.name
    learned = _learned(source)
    if not known_by_id:
        learned = _under_our_names(key, source, learned, data, split)
    for part in ("test", "validation"):
        ours = split[split["part"] == part]
        unlabelled = learned["part"].eq(UNLABELLED_PART) & learned["group"].isin(ours["group"])
        if overlap := sorted({*learned["id"]}.intersection(ours["id"]) | {*learned.loc[unlabelled, "id"]}):
            record = source.environment.data
            where = f"fold {record.fold} of {record.folds}" if same_data else f"{record.name} in {record.root}"
            raise PreceptorError(
                f"{key}: {source.path} was trained on {len(overlap)} images of this run's {part} part "
                f"({some_of(overlap, 3)}); it is of {where}",
                expected="a network trained on the same fold of the same split"
                if same_data
                else "a network that has not learned from images that this run is judged by",
                remedy="train one on this fold, or leave the run out and let the recipe train it first",
            )


def _learned(source: Run) -> pd.DataFrame:
    return source.split[training_rows(source.split["part"].to_numpy(), source.recipe.unlabelled)]


def _has_the_same_ids(source: Run, data: Data) -> bool:
    """Whether an id stands for the same image in both; elsewhere ``mel/001.png`` may be any image."""
    theirs, ours = source.environment.data, data.record(source.environment.data.folds, [])
    if (theirs.fingerprint, theirs.root) == (ours.fingerprint, ours.root):
        return True
    return same_ids(theirs.name, theirs.options, ours.name, ours.options)


def _under_our_names(key: str, source: Run, learned: pd.DataFrame, data: Data, split: pd.DataFrame) -> pd.DataFrame:
    """Those of the images that the source has learned from whose files are this run's too, by this run's ids."""
    catalog, note = what_is_left(source, set(learned["id"]))
    if catalog is None and source.environment.data.fingerprint == data.fingerprint:
        return learned  # the same data, which were moved
    if note:
        _warn_of(key, note)
    ours = data.catalog()
    pairs = [] if catalog is None else Contents(ours).same_files(Contents(catalog))
    if catalog is not None and not pairs and (_in_containers(ours) or _in_containers(catalog)):
        _warn_of(key, f"images in containers cannot be compared with those of {source.path}")
    same = pd.DataFrame(pairs, columns=["id", "there"], dtype=str)
    there = learned[["id", "part"]].rename(columns={"id": "there"})
    return same.merge(there, on="there").merge(split[["id", "group"]], on="id")


def _in_containers(catalog: Catalog) -> bool:
    return len(catalog) > 0 and is_member(catalog.path(0))


def _warn_of(key: str, why: str) -> None:
    warnings.warn(
        f"{key}: {why}; make sure that the network has not learned from images of this run's test part",
        PreceptorWarning,
        stacklevel=4,
    )
