"""The catalog: one row for each image, with its label, group, mask, attributes and prescribed part; no pixels."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from preceptor.data.identical import identical_files
from preceptor.data.sources import files_of
from preceptor.utils.errors import PreceptorError, did_you_mean, some_of

COLUMNS = ("id", "image", "label", "group", "mask")
#: Column of a catalog's table with the part that the publisher prescribes; absent where none is prescribed.
PART = "part"
#: The parts of a split that networks are trained, selected and judged on.
PARTS = ("train", "validation", "test")
#: The only class of a data set whose images have masks and no labels.
UNLABELLED = "unlabelled"

_LONGEST_NAME = 200  # characters of a class name; a longer one is a sentence, or the wrong column


@dataclass(frozen=True)
class Catalog:
    """The images of a data set and what is known of each.

    Attributes:
        name: the reader's name, such as ``ham10000``.
        root: the folder that the paths of ``table`` start from.
        table: one row per image with the string columns ``id`` (unique), ``image`` (a path below ``root``, or an entry
            of a container there; see :mod:`preceptor.data.sources`), ``label`` (one of ``classes``; empty where an
            image is unlabelled), ``group`` (images of one lesion or patient share it) and ``mask`` (as ``image``;
            empty where there is none); where the publisher prescribes parts also ``part`` (``train``, ``validation``
            or ``test``); then a column for each of ``attribute_names`` (strings, empty where missing) and of
            ``label_names`` (1, 0, or NaN where missing). Sorted by id, numbers in it by their value.
        classes: the class names in the order of their indices; only :data:`UNLABELLED` where nothing is labelled;
            ``label_names`` where an image may have several labels.
        notes: sentences for the user about this copy (partial, groups missing, …).
        excluded: ids left out on request.
        mask_classes: what the values 0, 1, … of the masks mean, the background first; background and foreground where
            a reader with masks does not say, empty without masks.
        attribute_names: columns of ``table`` that describe patient or acquisition, such as ``sex``, ``age``, ``site``.
        label_names: columns of ``table`` with one finding each, where an image may have several of them at once.
    """

    name: str
    root: Path
    table: pd.DataFrame
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    excluded: tuple[str, ...] = field(default=())
    mask_classes: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_names()
        further = [*([PART] if PART in self.table else []), *self.attribute_names]
        table = self.table.reindex(columns=[*COLUMNS, *further, *self.label_names], fill_value="")
        strings = [*COLUMNS, *further]
        table = table.astype(dict.fromkeys(strings, str) | dict.fromkeys(self.label_names, np.float32))
        table = table.sort_values("id", key=_by_number, kind="stable").reset_index(drop=True)
        if PART in table and not table[PART].any():
            table = table.drop(columns=PART)
        object.__setattr__(self, "table", table)
        if (table["mask"] == "").all():
            object.__setattr__(self, "mask_classes", ())
        elif not self.mask_classes:
            object.__setattr__(self, "mask_classes", ("background", "foreground"))
        self._check_rows()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def labels(self) -> np.ndarray:
        """Class indices, (N,) int64; -1 where an image has none or may have several, 0 where nothing is labelled."""
        if self.label_names:
            return np.full(len(self), -1, dtype=np.int64)
        index = {name: i for i, name in enumerate(self.classes)} | {"": -1}
        return self.table["label"].map(index).to_numpy(np.int64, copy=True)

    @property
    def label_matrix(self) -> np.ndarray | None:
        """(N, L) float32: 1, 0 or NaN (not known) for each of ``label_names``; None where an image has one label."""
        return self.table[list(self.label_names)].to_numpy(np.float32, copy=True) if self.label_names else None

    @property
    def attributes(self) -> pd.DataFrame:
        """The attributes of each image, by name: strings, empty where missing; row i is row i of ``table``."""
        return self.table[list(self.attribute_names)].copy()

    @property
    def labelled(self) -> np.ndarray:
        """(N,) bool, whether an image has a label (or, in a data set of masks alone, a mask)."""
        if self.label_names:
            return self.table[list(self.label_names)].notna().any(axis=1).to_numpy()
        return (self.table["label"] != "").to_numpy()

    @property
    def has_labels(self) -> bool:
        """Whether there is something to classify; else the images are for their masks alone."""
        return self.classes != (UNLABELLED,)

    @property
    def has_masks(self) -> bool:
        """Whether every image has a mask."""
        return bool((self.table["mask"] != "").all())

    @property
    def has_parts(self) -> bool:
        """Whether the publisher prescribes which images to train, validate and test on."""
        return PART in self.table

    @cached_property
    def identical(self) -> tuple[tuple[int, ...], ...]:
        """Rows whose image files are byte for byte the same, two or more together; all files of one size are read."""
        return identical_files(self.root, self.table["image"].tolist())

    def counts(self) -> dict[str, int]:
        """Images of each class, in the order of ``classes``."""
        if self.label_names:
            return {name: int((self.table[name] == 1).sum()) for name in self.label_names}
        counts = self.table["label"].value_counts()
        return {name: int(counts.get(name, 0)) for name in self.classes}

    def without(self, ids: Iterable[str]) -> Catalog:
        """Leave out the images with these ids.

        Raises:
            PreceptorError: an id that is not there, so that a slip of the pen is not believed.
        """
        ids = [str(image_id) for image_id in ids]
        known = set(self.table["id"])
        missing = [image_id for image_id in ids if image_id not in known]
        if missing:
            raise PreceptorError(
                f"--exclude names ids that {self.name} does not have: {some_of(missing)}."
                f"{did_you_mean(missing[0], known)}",
                expected="ids as in the first column of the data set, one per line",
            )
        kept = self.table[~self.table["id"].isin(ids)]
        left, before = set(kept["label"]), self.counts()
        gone = [] if self.label_names else [name for name in self.classes if name not in left and before[name]]
        return replace(
            self,
            table=kept,
            classes=tuple(name for name in self.classes if name not in gone),
            notes=(*self.notes, *(f"class {name} is left out: all of its images are excluded" for name in gone)),
            excluded=(*self.excluded, *sorted(set(ids))),
        )

    def path(self, row: int, column: str = "image") -> Path:
        """Where the image (or mask) of a row is read from: a file, or an entry of a container."""
        return self.root / str(self.table.at[row, column])

    def fingerprint(self) -> str:
        """SHA-256 of what training depends on: the same data give the same figure on any machine.

        Classes, ids, labels, groups, prescribed parts, and paths and sizes of images and masks. Attributes are not in
        it: no training depends on them, and a run keeps those it was judged by in its ``split.csv``.
        """
        digest = hashlib.sha256("\x1f".join(self.classes).encode())
        if len(self.mask_classes) > 2:  # of two there is one reading only, whatever they are called
            digest.update("\x1e".join(self.mask_classes).encode())
        sizes: dict[str, str] = {}
        for index, row in enumerate(self.table[list(COLUMNS)].itertuples(index=False)):
            names = [str(name) for name in (row.image, row.mask) if name]
            for file in (file for name in names for file in files_of(name)):
                if file not in sizes:
                    sizes[file] = str((self.root / file).stat().st_size)
            of_files = [sizes[file] for name in names for file in files_of(name)]
            part = [str(self.table.at[index, PART])] if self.has_parts else []
            fields = [str(row.id), str(row.label), str(row.group), *names, *of_files, *part, "\n"]
            digest.update("\x1f".join(fields).encode())
        if self.label_matrix is not None:
            digest.update("\x1e".join(self.label_names).encode())
            digest.update(np.nan_to_num(self.label_matrix, nan=-1).astype(np.int8).tobytes())
        return digest.hexdigest()

    def _check_names(self) -> None:
        taken = [*COLUMNS, PART, *self.attribute_names, *self.label_names]
        twice = sorted({name for name in taken if taken.count(name) > 1})
        if twice:
            raise PreceptorError(
                f"{self.name}: attributes or labels with a name that is taken: {some_of(twice)}",
                expected=f"names other than each other's and {', '.join((*COLUMNS, PART))}",
                remedy="rename these columns",
            )
        long = [name for name in self.classes if len(name) > _LONGEST_NAME]
        if long:
            raise PreceptorError(
                f"{self.name}: a class has a name of {len(long[0]):,} characters: {long[0][:60]}…",
                expected=f"at most {_LONGEST_NAME} characters",
                remedy="name the column that holds the classes",
            )

    def _check_rows(self) -> None:
        table = self.table
        if table.empty:
            raise PreceptorError(f"{self.name}: no images in {self.root}", expected="at least one image")
        twice = table["id"][table["id"].duplicated()].unique()
        if len(twice):
            raise PreceptorError(
                f"{self.name}: these ids occur more than once: {some_of(twice)}",
                expected="one row for each image",
                remedy="remove the repeated rows from the table",
            )
        if self.has_parts and not table[PART].isin([*PARTS, ""]).all():
            raise PreceptorError(
                f"{self.name}: prescribed parts {some_of(sorted(set(table[PART])))}",
                expected=f"{', '.join(PARTS)}, or nothing",
            )


def _by_number(ids: pd.Series) -> pd.Series:
    """Sort keys: every run of digits at one width, so that slice 2 comes before slice 10; then the id itself."""
    return ids.map(lambda text: (re.sub("[0-9]+", lambda digits: digits[0].zfill(20), text), text))
