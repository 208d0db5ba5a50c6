"""Folds of images or groups, stratified by class (scikit-learn's), with errors in the data set's own terms."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from preceptor.data.catalog import Catalog
from preceptor.utils.errors import PreceptorError, some_of
from preceptor.utils.randomness import seed_of

_NEAR = 0.01  # by which a validation part may differ from the share that was asked for
_MOST_FOLDS = 20


@dataclass(frozen=True)
class Strata:
    """What folds are to be alike in.

    Attributes:
        names: of the strata: the classes, or the labels of a data set with several labels per image.
        indices: (N,) int64 the stratum of each image; -1 for an unlabelled one.
    """

    names: tuple[str, ...]
    indices: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """The labelled images, in the order of the catalog."""
        return np.flatnonzero(self.indices >= 0)

    def of(self, rows: np.ndarray) -> np.ndarray:
        return self.indices[rows]


def strata_of(catalog: Catalog, folds: int) -> Strata:
    """Classes as strata; with several labels per image, its rarest label that at least ``folds`` groups have."""
    matrix = catalog.label_matrix
    if matrix is None:
        return Strata(catalog.classes, catalog.labels)
    groups = catalog.table["group"].to_numpy(str)
    counts = np.array([len(np.unique(groups[column == 1])) for column in matrix.T])
    kept = [int(label) for label in np.argsort(counts, kind="stable") if counts[label] >= folds]
    indices = np.full(len(catalog), len(kept), dtype=np.int64)
    for index, label in reversed(list(enumerate(kept))):  # the rarest has the last word
        indices[matrix[:, label] == 1] = index
    indices[~catalog.labelled] = -1
    return Strata((*(catalog.label_names[label] for label in kept), "none of the labels"), indices)


def group_folds(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> list[np.ndarray]:
    """The rows of each fold. Groups that differ in size or label are dealt out first, alike ones last.

    Args:
        labels: (N,) int64.
        groups: (N,) of any type that can be sorted.
        folds: their number.
        seed: decides on the order of equal groups.
    """
    numbered = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    return [rows.copy() for rows in _group_folds(labels.astype(np.int64).tobytes(), numbered.tobytes(), folds, seed)]


@lru_cache(maxsize=32)  # seconds for thousands of groups, and every cell of a study asks for the same ones
def _group_folds(label_bytes: bytes, group_bytes: bytes, folds: int, seed: int) -> list[np.ndarray]:
    # Here: it takes half a second with what it imports of SciPy, and most processes read a split from its file.
    from sklearn.model_selection import StratifiedGroupKFold

    labels, groups = np.frombuffer(label_bytes, np.int64), np.frombuffer(group_bytes, np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=_random_state(seed))
    with warnings.catch_warnings():  # that a class has fewer images than folds: whether it matters is checked apart
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        return [rows for _, rows in splitter.split(labels, labels, groups)]


def image_folds(catalog: Catalog, strata: Strata, folds: int, seed: int) -> list[np.ndarray]:
    """The rows of each fold of single images.

    Raises:
        PreceptorError: a class with fewer images than folds.
    """
    from sklearn.model_selection import StratifiedKFold  # here for the same reason as in _group_folds

    labels = strata.of(strata.rows)
    counts = np.bincount(labels, minlength=len(strata.names)).tolist()
    _refuse_scarce(catalog, dict(zip(strata.names, counts, strict=True)), "images", folds, strict=_exclusive(catalog))
    splitter = StratifiedKFold(folds, shuffle=True, random_state=_random_state(seed))
    return [strata.rows[rows] for _, rows in splitter.split(labels, labels)]


def check_groups(catalog: Catalog, strata: Strata, folds: int) -> None:
    """Raise :class:`PreceptorError` where a class has fewer groups than there are folds."""
    _refuse_scarce(catalog, _group_counts(catalog, strata), "groups", folds, strict=_exclusive(catalog))


def validation_rows(
    catalog: Catalog, strata: Strata, rest: np.ndarray, groups: np.ndarray, share: float, seed: int
) -> np.ndarray:
    """Positions within ``rest`` of a validation part that leaves every class on both sides.

    Args:
        rest: rows of the catalog that are not a test part.
        groups: (N,) of the whole catalog.
        share: of ``rest`` that is wanted.

    Raises:
        PreceptorError: too few images or groups for a share of that size, or no arrangement with every class on both
            sides.
    """
    labels = strata.of(rest)
    most = min(max(np.bincount(labels, minlength=1)), len(np.unique(groups[rest])))
    taken = _as_folds(share, int(most))
    _check_enough(catalog, strata, labels, groups[rest], share, taken)
    every = np.unique(labels) if catalog.label_names else np.unique(strata.of(strata.rows))
    folds = group_folds(labels, groups[rest], taken.denominator, seed)
    for first in range(len(folds)):
        part = np.sort(np.concatenate([folds[(first + more) % len(folds)] for more in range(taken.numerator)]))
        inside = np.zeros(len(rest), dtype=bool)
        inside[part] = True
        if all(np.isin(every, labels[side]).all() for side in (inside, ~inside)) or catalog.label_names:
            return part
    counts = _group_counts(catalog, strata)
    scarce = min(strata.names, key=counts.__getitem__)
    raise PreceptorError(
        f"{catalog.name}: no arrangement brings every class into both training and validation; the scarcest is "
        f"{scarce!r} with {counts[scarce]} groups",
        expected="enough groups of every class for three parts",
        remedy="more data, a larger validation share, or leave the class out",
    )


def is_one_fold(share: float) -> bool:
    """Whether a validation part of this share is one of n equal folds, as all were in version 0.1."""
    return abs(1 / max(2, round(1 / share)) - share) <= _NEAR


def _as_folds(share: float, most: int) -> Fraction:
    """How many of how many equal folds a share is: one of n where that is within a hundredth of it.

    Args:
        most: folds that the data bear.
    """
    single = Fraction(1, max(2, round(1 / share)))
    if is_one_fold(share):
        return single
    return Fraction(share).limit_denominator(max(2, min(most, _MOST_FOLDS))) or single


def _check_enough(
    catalog: Catalog, strata: Strata, labels: np.ndarray, groups: np.ndarray, share: float, taken: Fraction
) -> None:
    """What StratifiedGroupKFold asks for: as many groups as parts, and as many images of one class at least.

    Fewer parts are not taken instead: the validation part would silently be larger than was asked for.
    """
    parts = taken.denominator
    counts = np.bincount(labels, minlength=len(strata.names)).tolist()
    most = min(max(counts), len(np.unique(groups)))
    if most >= parts:
        return
    listed = [f"{name!r} has {count}" for name, count in zip(strata.names, counts, strict=True)]
    fewest = min(len(np.unique(groups[labels == index])) for index in range(len(counts)))  # so that each part has all
    least = math.ceil(100 / max(fewest, 1)) / 100
    part = "one" if taken.numerator == 1 else taken.numerator
    raise PreceptorError(
        f"{catalog.name}: validation={share:g} is {part} of {parts} parts of the images outside the test fold, which "
        f"are too few for that: {some_of(listed)}, in {len(np.unique(groups))} groups",
        expected=f"{parts} images of one class there, and {parts} groups",
        remedy=f"set split.validation={least:g} or more, or take more data" if least <= 0.5 else "take more data",
    )


def _refuse_scarce(catalog: Catalog, counts: dict[str, int], unit: str, folds: int, strict: bool) -> None:
    scarce = [f"{name!r} has {count}" for name, count in counts.items() if count < folds] if strict else []
    if scarce:
        raise PreceptorError(
            f"{catalog.name}: classes with fewer {unit} than the {folds} folds: {some_of(scarce)}",
            expected=f"each fold needs at least one of the {unit} of each class",
            remedy="fewer folds, or merge the class with another, or leave its images out with --exclude FILE",
        )


def _exclusive(catalog: Catalog) -> bool:
    """Whether an image has one class, which every fold then needs; with several labels, strata are made to fit."""
    return not catalog.label_names


def _group_counts(catalog: Catalog, strata: Strata) -> dict[str, int]:
    groups = catalog.table["group"].to_numpy(str)
    return {name: len(np.unique(groups[strata.indices == index])) for index, name in enumerate(strata.names)}


def _random_state(seed: int) -> int:
    return seed_of(seed, "folds") % 2**32  # scikit-learn takes 32 bits
