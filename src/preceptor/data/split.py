"""Which image is trained on, validated on and tested on."""

from __future__ import annotations

import hashlib
import math
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import LINE, read_csv, refuse_missing
from preceptor.utils.errors import PreceptorError, some_of
from preceptor.utils.randomness import seed_of

Protocol = Literal["grouped", "paper"]
COLUMNS = ("id", "group", "part", "label")
PARTS = ("train", "validation", "test")


def make_split(
    catalog: Catalog,
    *,
    folds: int = 5,
    fold: int = 0,
    seed: int = 0,
    validation: float = 0.125,
    protocol: Protocol = "grouped",
) -> pd.DataFrame:
    """Assign every image to one part.

    ``grouped``: folds stratified by class that keep the images of a group (lesion, patient) together; fold ``fold`` is
    the test part, and of the rest ``validation`` becomes the validation part, by groups again. The test parts of all
    folds make up the data set. ``paper``: folds of single images, as much published work has them, train and test only;
    images of one lesion may then stand on both sides, so its figures are too good.

    Args:
        catalog: the data set.
        folds: number of folds, at least 2.
        fold: which of them, from 0.
        seed: decides on the folds; the same for all folds of one experiment.
        validation: share of the images outside the test fold, in (0, 0.5]; 1/8 with 5 folds gives 70:10:20.
        protocol: ``grouped`` or ``paper``.

    Returns:
        One row an image, in the order of the catalog, with the columns :data:`COLUMNS`.

    Raises:
        PreceptorError: an argument out of its range, a class with fewer groups (``paper``: images) than folds, or one
            that no arrangement brings into every part; fewer images outside the test fold than ``validation`` makes
            parts of them.
    """
    _check_arguments(folds, fold, validation, protocol)
    labels, groups = catalog.labels, catalog.table["group"].to_numpy(str)
    _check_classes(catalog, folds, protocol)
    part = np.full(len(catalog), "train", dtype=object)
    if protocol == "paper":
        part[_image_folds(labels, folds, seed)[fold]] = "test"
    else:
        test = _group_folds(labels, groups, folds, seed)[fold]
        part[test] = "test"
        rest = np.flatnonzero(part == "train")
        part[rest[_validation(catalog, rest, labels, groups, validation, seed_of(seed, fold, "validation"))]] = (
            "validation"
        )
    split = catalog.table[["id", "group", "label"]].assign(part=part.astype(str))[list(COLUMNS)]
    _check_parts(catalog, split, protocol)
    return split


def split_hash(split: pd.DataFrame) -> str:
    """SHA-256 over ids, groups, parts and labels, whatever the order of the rows."""
    ordered = split[list(COLUMNS)].astype(str).sort_values("id", kind="stable")
    lines = ("\x1f".join(row) for row in ordered.itertuples(index=False, name=None))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_split(split: pd.DataFrame, path: Path) -> None:
    """Write ``split.csv``."""
    split[list(COLUMNS)].to_csv(path, index=False)


def parts_of(split: pd.DataFrame, ids: pd.Series) -> NDArray[np.object_]:
    """(N,) the part of each of these images, in their order; NaN of those that the split does not know."""
    return split.set_index("id")["part"].reindex(ids).to_numpy()


def read_split(path: Path) -> pd.DataFrame:
    """Read what :func:`write_split` wrote; ids and labels stay strings.

    Raises:
        PreceptorError: no such file, a missing column, a part of another name, a repeated id.
    """
    table = read_csv(path, COLUMNS)
    refuse_missing(path, table, "id")
    wrong = table.loc[~table["part"].isin(PARTS), LINE]
    if len(wrong):
        raise PreceptorError(
            f"{path}: line {some_of(wrong)} names another part", expected=f"part is one of {', '.join(PARTS)}"
        )
    twice = table.loc[table["id"].duplicated(), "id"]
    if len(twice):
        raise PreceptorError(f"{path} names ids more than once: {some_of(twice)}", expected="one row for each image")
    return table[list(COLUMNS)]


def _group_folds(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> list[np.ndarray]:
    """The rows of each fold. Groups that differ in size or label are dealt out first, alike ones last."""
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=_random_state(seed))
    with warnings.catch_warnings():  # that a class has fewer images than folds: whether it matters is checked below
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        return [rows for _, rows in splitter.split(labels, labels, groups)]


def _image_folds(labels: np.ndarray, folds: int, seed: int) -> list[np.ndarray]:
    splitter = StratifiedKFold(folds, shuffle=True, random_state=_random_state(seed))
    return [rows for _, rows in splitter.split(labels, labels)]


def _random_state(seed: int) -> int:
    return seed_of(seed, "folds") % 2**32  # scikit-learn takes 32 bits


def _validation(
    catalog: Catalog, rest: np.ndarray, labels: np.ndarray, groups: np.ndarray, share: float, seed: int
) -> np.ndarray:
    """Positions within ``rest`` of the first arrangement that leaves every class on both sides."""
    parts = max(2, round(1 / share))
    _check_enough(catalog, labels[rest], groups[rest], share, parts)
    for part in _group_folds(labels[rest], groups[rest], parts, seed):
        inside = np.zeros(len(rest), dtype=bool)
        inside[part] = True
        every = np.unique(labels)
        if all(np.isin(every, labels[rest][side]).all() for side in (inside, ~inside)):
            return part
    scarce = min(catalog.classes, key=lambda name: _group_counts(catalog)[name])
    raise PreceptorError(
        f"{catalog.name}: no arrangement brings every class into both training and validation; the scarcest is "
        f"{scarce!r} with {_group_counts(catalog)[scarce]} groups",
        expected="enough groups of every class for three parts",
        remedy="more data, a larger validation share, or leave the class out",
    )


def _check_enough(catalog: Catalog, labels: np.ndarray, groups: np.ndarray, share: float, parts: int) -> None:
    """What StratifiedGroupKFold asks for: as many groups as parts, and as many images of one class at least.

    Fewer parts are not taken instead: the validation part would be larger than was asked for, and nobody told.
    """
    counts = np.bincount(labels, minlength=len(catalog.classes)).tolist()
    most = min(max(counts), len(np.unique(groups)))
    if most >= parts:
        return
    said = [f"{name!r} has {count}" for name, count in zip(catalog.classes, counts, strict=True)]
    fewest = min(len(np.unique(groups[labels == index])) for index in range(len(counts)))  # so that each part has all
    least = math.ceil(100 / max(fewest, 1)) / 100
    raise PreceptorError(
        f"{catalog.name}: validation={share:g} is one of {parts} parts of the images outside the test fold, which are "
        f"too few for that: {some_of(said)}, in {len(np.unique(groups))} groups",
        expected=f"{parts} images of one class there, and {parts} groups",
        remedy=f"set split.validation={least:g} or more, or take more data" if least <= 0.5 else "take more data",
    )


def _group_counts(catalog: Catalog) -> dict[str, int]:
    counts = catalog.table.groupby("label")["group"].nunique()
    return {name: int(counts.get(name, 0)) for name in catalog.classes}


def _check_arguments(folds: int, fold: int, validation: float, protocol: str) -> None:
    if folds < 2:
        raise PreceptorError(f"folds is {folds}", expected="at least 2")
    if not 0 <= fold < folds:
        raise PreceptorError(f"fold is {fold}", expected=f"0 to {folds - 1}, as there are {folds} folds")
    if not (math.isfinite(validation) and 0 < validation <= 0.5):
        raise PreceptorError(f"validation is {validation}", expected="a share above 0 and at most 0.5")
    if protocol not in ("grouped", "paper"):
        raise PreceptorError(f"there is no protocol {protocol!r}", expected="grouped or paper")


def _check_classes(catalog: Catalog, folds: int, protocol: str) -> None:
    counts, unit = (_group_counts(catalog), "groups") if protocol == "grouped" else (catalog.counts(), "images")
    scarce = [f"{name!r} has {count}" for name, count in counts.items() if count < folds]
    if scarce:
        raise PreceptorError(
            f"{catalog.name}: classes with fewer {unit} than the {folds} folds: {some_of(scarce)}",
            expected=f"at least one of the {unit} of every class in every fold",
            remedy="fewer folds, or merge the class with another, or leave its images out with --exclude FILE",
        )


def _check_parts(catalog: Catalog, split: pd.DataFrame, protocol: str) -> None:
    """What StratifiedGroupKFold does not promise: every class in every part."""
    for part in PARTS if protocol == "grouped" else ("train", "test"):
        missing = set(catalog.classes) - set(split.loc[split["part"] == part, "label"])
        if missing:
            raise PreceptorError(
                f"{catalog.name}: the {part} part would have no image of {some_of(sorted(missing))}",
                expected="every class in every part",
                remedy="another seed, fewer folds, or leave the class out with --exclude FILE",
            )
