"""What a reader hands on: one row an image, and the classes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from preceptor.utils.errors import PreceptorError, did_you_mean, some_of

COLUMNS = ("id", "image", "label", "group", "mask")
#: The one class of images that have masks and no labels.
UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class Catalog:
    """The images of a data set, their labels, groups and masks; no pixels.

    Attributes:
        name: the reader's name, such as ``ham10000``.
        root: the folder that the paths of ``table`` start from.
        table: one row an image with the string columns ``id`` (unique), ``image`` (path below ``root``),
            ``label`` (one of ``classes``), ``group`` (images of one lesion or patient share it) and ``mask``
            (path below ``root``; empty string where there is none). Sorted by id, numbers in it by their value.
        classes: the class names in the order of their indices; only :data:`UNLABELLED` where nothing is labelled.
        notes: what the user should be told about this copy (partial, groups missing, …).
        excluded: ids left out on request.
        mask_classes: what the values 0, 1, … of the masks mean, the background first; background and foreground where
            a reader with masks does not say, empty without masks.
    """

    name: str
    root: Path
    table: pd.DataFrame
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    excluded: tuple[str, ...] = field(default=())
    mask_classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        table = self.table.reindex(columns=list(COLUMNS), fill_value="").astype(str)
        table = table.sort_values("id", key=_by_number, kind="stable").reset_index(drop=True)
        object.__setattr__(self, "table", table)
        if (table["mask"] == "").all():
            object.__setattr__(self, "mask_classes", ())
        elif not self.mask_classes:
            object.__setattr__(self, "mask_classes", ("background", "foreground"))
        twice = table["id"][table["id"].duplicated()].unique()
        if len(twice):
            raise PreceptorError(
                f"{self.name}: these ids occur more than once: {some_of(twice)}",
                expected="one row for each image",
                remedy="remove the repeated rows from the table",
            )
        if table.empty:
            raise PreceptorError(f"{self.name}: no images in {self.root}", expected="at least one image")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def labels(self) -> np.ndarray:
        """Class indices, (N,) int64; all 0 where nothing is labelled."""
        index = {name: i for i, name in enumerate(self.classes)}
        return self.table["label"].map(index).to_numpy(np.int64, copy=True)

    @property
    def has_labels(self) -> bool:
        """Whether there is something to classify; else the images are for their masks alone."""
        return self.classes != (UNLABELLED,)

    @property
    def has_masks(self) -> bool:
        """Whether every image has a mask."""
        return bool((self.table["mask"] != "").all())

    def counts(self) -> dict[str, int]:
        """Images of each class, in the order of ``classes``."""
        found = self.table["label"].value_counts()
        return {name: int(found.get(name, 0)) for name in self.classes}

    def without(self, ids: Iterable[str]) -> Catalog:
        """The catalog less the named ids; an id that is not there is an error, so that a typo is not believed."""
        ids = [str(one) for one in ids]
        known = set(self.table["id"])
        missing = [one for one in ids if one not in known]
        if missing:
            raise PreceptorError(
                f"--exclude names ids that {self.name} does not have: {some_of(missing)}."
                f"{did_you_mean(missing[0], known)}",
                expected="ids as in the first column of the data set, one a line",
            )
        kept = self.table[~self.table["id"].isin(ids)]
        left = set(kept["label"])
        gone = [name for name in self.classes if name not in left and self.counts()[name]]
        return replace(
            self,
            table=kept,
            classes=tuple(name for name in self.classes if name not in gone),
            notes=(*self.notes, *(f"class {name} is left out: all of its images are excluded" for name in gone)),
            excluded=(*self.excluded, *sorted(set(ids))),
        )

    def path(self, row: int, column: str = "image") -> Path:
        return self.root / str(self.table.at[row, column])

    def fingerprint(self) -> str:
        """SHA-256 over classes, ids, labels, groups, and paths and sizes of images and masks: the same data give the
        same figure anywhere."""
        digest = hashlib.sha256("\x1f".join(self.classes).encode())
        if len(self.mask_classes) > 2:  # of two there is one reading only, whatever they are called
            digest.update("\x1e".join(self.mask_classes).encode())
        for row in self.table.itertuples(index=False):
            files = [str(name) for name in (row.image, row.mask) if name]
            sizes = [str((self.root / name).stat().st_size) for name in files]
            digest.update("\x1f".join([str(row.id), str(row.label), str(row.group), *files, *sizes, "\n"]).encode())
        return digest.hexdigest()


def _by_number(ids: pd.Series) -> pd.Series:
    """Sort keys: every run of digits at one width, so that slice 2 comes before slice 10; then the id itself."""
    return ids.map(lambda text: (re.sub("[0-9]+", lambda digits: digits[0].zfill(20), text), text))
