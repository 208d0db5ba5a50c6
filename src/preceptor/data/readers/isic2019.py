"""The training set of the ISIC 2019 challenge: dermoscopy, eight classes.

It unites HAM10000 (Tschandl et al., Scientific Data 5:180161, 2018), MSK (Codella et al., arXiv:1710.05006) and
BCN_20000 (Combalia et al., arXiv:1908.02288).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import LINE, is_missing, read_csv, refuse_missing
from preceptor.data.layout import attributes_of, count_notes, find_table, matched
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError, some_of

#: Images of each class; the ground truth has a ninth column, UNK, that no training image is marked in.
PUBLISHED = {"MEL": 4522, "NV": 12875, "BCC": 3323, "AK": 867, "BKL": 2624, "DF": 239, "VASC": 253, "SCC": 628}
UNKNOWN = "UNK"
ATTRIBUTES = {"age_approx": "age", "sex": "sex", "anatom_site_general": "site"}
_TRUTH = "ISIC_2019_Training_GroundTruth.csv"
_METADATA = "ISIC_2019_Training_Metadata.csv"
_IMAGES = "ISIC_2019_Training_Input"
_LAYOUT = f"{_TRUTH}, {_METADATA} and {_IMAGES}/<image>.jpg"


@reader(
    "isic2019",
    layout=_LAYOUT,
    about=About(
        "dermoscopy, eight classes (HAM10000, BCN_20000, MSK)",
        images="25,331",
        groups="lesion",
        attributes=tuple(ATTRIBUTES.values()),
        licence="CC BY-NC 4.0",
        archive="ISIC",
    ),
)
def isic2019(root: Path) -> Catalog:
    """Eight classes of skin lesions (nine where images are marked UNK); images of one lesion form a group.

    Args:
        root: the folder that holds the ground truth, or its parent where only one such folder lies.

    Raises:
        PreceptorError: a missing table, column or folder, a row that does not name exactly one class, an image
            without its file or without its row of metadata, a repeated image.
    """
    truth = find_table(root, (_TRUTH,), "ISIC 2019", _LAYOUT)
    columns = (*PUBLISHED, UNKNOWN)
    table = read_csv(truth, ("image", *columns))
    refuse_missing(truth, table, "image")
    ids, labels = table["image"], _labels(truth, table, columns)
    images, notes = matched(truth, ids, _IMAGES, ".jpg", _LAYOUT)
    metadata = _metadata(truth.parent / _METADATA, ids)
    lesions, described = metadata["lesion_id"], attributes_of(metadata, ATTRIBUTES)
    alone = is_missing(lesions)
    if alone.any():
        notes.append(f"{int(alone.sum()):,} images have no lesion_id; each is taken as unrelated to the others")
    rows = pd.DataFrame({"id": ids, "image": images, "label": labels, "group": lesions.mask(alone, ids)}).join(
        described
    )
    classes = columns if (labels == UNKNOWN).any() else tuple(PUBLISHED)
    notes = [*count_notes(labels, PUBLISHED), *notes]
    return Catalog("isic2019", truth.parent, rows, classes, tuple(notes), attribute_names=tuple(described.columns))


def _labels(path: Path, table: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series:
    marks = table[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    wrong = ~np.isin(marks, (0, 1)).all(axis=1) | (np.nansum(marks, axis=1) != 1)
    if wrong.any():
        images, lines = table.loc[wrong, "image"], table.loc[wrong, LINE]
        raise PreceptorError(
            f"{path}: not exactly one class for {some_of(images)} (line {some_of(lines)})",
            expected=f"one 1 and otherwise 0 in {', '.join(columns)}",
            remedy="correct the rows, or remove them",
        )
    return pd.Series(np.array(columns)[marks.argmax(axis=1)], index=table.index)


def _metadata(path: Path, ids: pd.Series) -> pd.DataFrame:
    """The row of each image in the table of metadata; its lesion_id may be missing."""
    if not path.is_file():
        raise PreceptorError(
            f"{path} does not exist",
            expected=_LAYOUT,
            remedy="fetch it from the challenge's page: only it tells which images show the same lesion",
        )
    table = read_csv(path, ("image", "lesion_id"))
    twice = table.loc[table["image"].duplicated(), "image"]
    if len(twice):
        raise PreceptorError(f"{path} names images more than once: {some_of(twice)}", expected="one row for each image")
    absent = ids[~ids.isin(table["image"])]
    if len(absent):
        raise PreceptorError(
            f"{path} has no row for {len(absent):,} of the images: {some_of(absent)}",
            expected=f"a row for every image of {_TRUTH}",
            remedy="take both tables from the same download",
        )
    return table.set_index("image").loc[ids].set_index(ids.index)
