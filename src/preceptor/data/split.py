"""Which image is trained on, validated on and tested on: folds by groups, or the parts that a publisher prescribes."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from preceptor.data.catalog import PARTS, Catalog
from preceptor.data.csvfile import LINE, read_csv, refuse_missing
from preceptor.data.folds import Strata, check_groups, group_folds, image_folds, strata_of, validation_rows
from preceptor.data.identical import chained, joined
from preceptor.data.label_notes import label_notes
from preceptor.utils.errors import PreceptorError, some_of
from preceptor.utils.randomness import seed_of

Protocol = Literal["grouped", "paper"]
Source = Literal["auto", "folds", "prescribed"]
COLUMNS = ("id", "group", "part", "label")
#: The part of images without a label: for objectives that need none. Their groups are in no other part but training.
UNLABELLED_PART = "unlabelled"
#: The part of images that no network may see: unlabelled ones of a group that is judged on, or without prescribed part.
UNUSED_PART = "unused"
ALL_PARTS = (*PARTS, UNLABELLED_PART, UNUSED_PART)


def make_split(
    catalog: Catalog,
    *,
    folds: int = 5,
    fold: int = 0,
    seed: int = 0,
    validation: float = 0.125,
    protocol: Protocol = "grouped",
    source: Source = "auto",
) -> pd.DataFrame:
    """Assign every image to one part.

    ``grouped``: folds stratified by class that keep the images of a group (lesion, patient) together; fold ``fold`` is
    the test part, and of the rest ``validation`` becomes the validation part, by groups again. The test parts of all
    folds make up the data set. ``paper``: folds of single images, as much published work has them, train and test only;
    images of one lesion may then stand on both sides, so its figures are too good.

    Groups with byte-identical image files count as one group. Where an image may have several labels, folds are
    stratified by the rarest label that an image has. Images without a label are no part of the folds: they become
    ``unlabelled``, or ``unused`` where their group is validated or tested on.

    Args:
        catalog: the data set.
        folds: number of folds, at least 2.
        fold: which of them, from 0.
        seed: decides on the folds; the same for all folds of one experiment.
        validation: share of the images outside the test fold, in (0, 0.5]; 1/8 with 5 folds gives 70:10:20.
        protocol: ``grouped`` or ``paper``.
        source: ``prescribed`` takes the parts that the catalog carries; where they lack a validation part, the share
            ``validation`` of the training part becomes one, by groups. ``folds`` ignores them. ``auto`` takes them
            where there are any and the protocol is ``grouped``.

    Returns:
        One row per image, in the order of the catalog, with the columns :data:`COLUMNS` and the catalog's attributes.

    Raises:
        PreceptorError: an argument out of its range, a class with fewer groups (``paper``: images) than folds, or one
            that no arrangement brings into every part; fewer images outside the test fold than ``validation`` makes
            parts of them; parts that are asked for and not prescribed, or prescribed without a test part.
    """
    _check_arguments(folds, fold, validation, protocol)
    strata = strata_of(catalog, folds)
    groups = joined(catalog.table["group"].to_numpy(str), chained(catalog.identical))
    if _takes_prescribed(catalog, source, protocol):
        part = _prescribed(catalog, strata, groups, fold, seed, validation)
    elif protocol == "paper":
        part = np.full(len(catalog), UNLABELLED_PART, dtype=object)
        part[strata.rows] = "train"
        part[image_folds(catalog, strata, folds, seed)[fold]] = "test"
    else:
        part = _grouped(catalog, strata, groups, folds, fold, seed, validation)
    split = catalog.table[["id", "label"]].assign(group=groups, part=part.astype(str))[list(COLUMNS)]
    _check_parts(catalog, split, ("train", "test") if protocol == "paper" else PARTS)
    return split.join(catalog.attributes)


def split_notes(catalog: Catalog, split: pd.DataFrame) -> list[str]:
    """Say what a split had to do, or leaves to be desired, for the user and for the run's record.

    Returns:
        Sentences on doubtful names of classes, on byte-identical files (and those with contradicting labels), on
        groups that stand in several parts, on parts that are prescribed, taken or not, and on images that no network
        sees.
    """
    notes = [*label_notes(catalog), *identity_notes(catalog)]
    judged = split[split["part"].isin(PARTS)]
    sides = judged.groupby("group")["part"].nunique()
    astride = sides.index[sides > 1].tolist()
    if astride:
        notes.append(
            f"{len(astride):,} groups (lesions, patients, or identical files) stand in several parts: "
            f"{some_of(astride, 3)}; the figures of the test part are too good"
        )
    if catalog.has_parts:
        published, counts = catalog.table["part"], judged["part"].value_counts()
        sizes = ", ".join(f"{part} {counts[part]:,}" for part in PARTS if part in counts)
        notes.append(
            f"split by the publisher, not into folds: {sizes} images (split.source=folds makes folds)"
            if (published.isin(["", "train"]) | (split["part"] == published)).all()
            else "the parts that the publisher prescribes are not taken (split.source=prescribed takes them)"
        )
    unused = int((split["part"] == UNUSED_PART).sum())
    if unused:
        notes.append(f"{unused:,} images are in no part: without a prescribed one, or unlabelled beside a tested image")
    return notes


def identity_notes(catalog: Catalog) -> list[str]:
    """Say which image files are byte for byte the same, and which of those have different labels."""
    if not catalog.identical:
        return []
    ids, labels = catalog.table["id"].to_numpy(str), catalog.table["label"].to_numpy(str)
    files = sum(len(rows) for rows in catalog.identical)
    examples = some_of((" = ".join(ids[list(rows)][:3]) for rows in catalog.identical), 3)
    notes = [
        f"{files:,} image files are byte for byte identical to another ({len(catalog.identical):,} sets: {examples}); "
        "folds keep their groups together"
    ]
    if contradictions := [rows for rows in catalog.identical if len(set(labels[list(rows)])) > 1]:
        cases = [
            f"{' = '.join(ids[list(rows)][:3])} ({', '.join(sorted(set(labels[list(rows)])))})"
            for rows in contradictions
        ]
        notes.append(f"{len(contradictions):,} sets of identical files contradict each other: {some_of(cases, 3)}")
    return notes


def split_hash(split: pd.DataFrame) -> str:
    """SHA-256 over ids, groups, parts and labels, whatever the order of the rows."""
    ordered = split[list(COLUMNS)].astype(str).sort_values("id", kind="stable")
    lines = ("\x1f".join(row) for row in ordered.itertuples(index=False, name=None))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def training_rows(part: NDArray[np.object_], unlabelled: bool) -> NDArray[np.bool_]:
    """Return whether each image is trained on, (N,): those of the training part, and with ``unlabelled`` those without
    a label, whose groups are in no part that is judged.

    >>> training_rows(np.array(["train", "test", "unlabelled", "unused"], dtype=object), True).tolist()
    [True, False, True, False]
    """
    return (part == "train") | (unlabelled & (part == UNLABELLED_PART))


def parts_of(split: pd.DataFrame, ids: pd.Series) -> NDArray[np.object_]:
    """(N,) the part of each of these images, in their order; NaN of those that the split does not know."""
    return split.set_index("id")["part"].reindex(ids).to_numpy()


def read_split(path: Path) -> pd.DataFrame:
    """Read ``split.csv``: the columns :data:`COLUMNS`, then the attributes; all of them stay strings.

    Raises:
        PreceptorError: no such file, a missing column, a part of another name, a repeated id.
    """
    table = read_csv(path, COLUMNS)
    refuse_missing(path, table, "id")
    wrong = table.loc[~table["part"].isin(ALL_PARTS), LINE]
    if len(wrong):
        raise PreceptorError(
            f"{path}: line {some_of(wrong)} names another part", expected=f"part is one of {', '.join(ALL_PARTS)}"
        )
    twice = table.loc[table["id"].duplicated(), "id"]
    if len(twice):
        raise PreceptorError(f"{path} names ids more than once: {some_of(twice)}", expected="one row for each image")
    attributes = [name for name in table.columns if name not in (*COLUMNS, LINE)]
    return table[[*COLUMNS, *attributes]]


def _takes_prescribed(catalog: Catalog, source: Source, protocol: Protocol) -> bool:
    if source == "prescribed" and not catalog.has_parts:
        raise PreceptorError(
            f"split.source=prescribed, but {catalog.name} prescribes no parts",
            expected="a data set with published parts, folders train/, val/, test/, or a table with such a column",
            remedy="name the column of the table (data.split=…), or set split.source=folds",
        )
    if source == "prescribed" and protocol == "paper":
        raise PreceptorError(
            "split.source=prescribed and protocol=paper", expected="one of them: protocol=paper makes folds of images"
        )
    return source == "prescribed" or (source == "auto" and catalog.has_parts and protocol == "grouped")


def _grouped(
    catalog: Catalog, strata: Strata, groups: np.ndarray, folds: int, fold: int, seed: int, validation: float
) -> np.ndarray:
    check_groups(catalog, strata, folds)
    part = np.full(len(catalog), UNLABELLED_PART, dtype=object)
    part[strata.rows] = "train"
    part[strata.rows[group_folds(strata.of(strata.rows), groups[strata.rows], folds, seed)[fold]]] = "test"
    _carve_validation(catalog, part, strata, groups, validation, seed_of(seed, fold, "validation"))
    return _without_judged_groups(part, groups)


def _prescribed(
    catalog: Catalog, strata: Strata, groups: np.ndarray, fold: int, seed: int, validation: float
) -> np.ndarray:
    if fold != 0:
        raise PreceptorError(
            f"fold is {fold}, but {catalog.name} prescribes its parts, which make one fold",
            expected="fold 0",
            remedy="set split.source=folds for folds of your own",
        )
    part = catalog.table["part"].to_numpy(object, copy=True)
    part[(part == "") | ~catalog.labelled] = UNUSED_PART
    part[~catalog.labelled & np.isin(catalog.table["part"].to_numpy(), ["", "train"])] = UNLABELLED_PART
    missing = [name for name in ("train", "test") if not (part == name).any()]
    if missing:
        raise PreceptorError(
            f"{catalog.name}: the prescribed parts lack {' and '.join(missing)}",
            expected="images to train on and images to test on",
            remedy="set split.source=folds for folds of your own",
        )
    if not (part == "validation").any():
        _carve_validation(catalog, part, strata, groups, validation, seed_of(seed, fold, "validation"))
    return _without_judged_groups(part, groups)


def _carve_validation(
    catalog: Catalog, part: np.ndarray, strata: Strata, groups: np.ndarray, share: float, seed: int
) -> None:
    """Turn a share of the training part into the validation part, by groups."""
    rest = np.flatnonzero(part == "train")
    part[rest[validation_rows(catalog, strata, rest, groups, share, seed)]] = "validation"


def _without_judged_groups(part: np.ndarray, groups: np.ndarray) -> np.ndarray:
    judged = np.isin(groups, groups[(part == "validation") | (part == "test")])
    return np.where((part == UNLABELLED_PART) & judged, UNUSED_PART, part)


def _check_arguments(folds: int, fold: int, validation: float, protocol: str) -> None:
    if folds < 2:
        raise PreceptorError(f"folds is {folds}", expected="at least 2")
    if not 0 <= fold < folds:
        raise PreceptorError(f"fold is {fold}", expected=f"0 to {folds - 1}, as there are {folds} folds")
    if not (math.isfinite(validation) and 0 < validation <= 0.5):
        raise PreceptorError(f"validation is {validation}", expected="a share above 0 and at most 0.5")
    if protocol not in ("grouped", "paper"):
        raise PreceptorError(f"there is no protocol {protocol!r}", expected="grouped or paper")


def _check_parts(catalog: Catalog, split: pd.DataFrame, parts: tuple[str, ...]) -> None:
    """What StratifiedGroupKFold does not promise: every class in every part."""
    if catalog.label_names:
        return
    for part in parts:
        missing = set(catalog.classes) - set(split.loc[split["part"] == part, "label"])
        if missing:
            raise PreceptorError(
                f"{catalog.name}: the {part} part would have no image of {some_of(sorted(missing))}",
                expected="every class in every part",
                remedy="another seed, fewer folds, or leave the class out with --exclude FILE",
            )
