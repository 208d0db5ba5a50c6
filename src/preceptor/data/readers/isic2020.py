"""ISIC 2020 challenge (SIIM-ISIC): dermoscopy of 2,056 patients, benign or malignant.

Rotemberg et al., "A patient-centric dataset of images and metadata for identifying melanomas using clinical context",
Scientific Data 8:34 (2021), doi:10.34970/2020-ds01.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import read_csv, refuse_missing
from preceptor.data.groups import tidied
from preceptor.data.identical import joined
from preceptor.data.layout import attributes_of, count_notes, find_table, located, refuse_unknown
from preceptor.data.readers import About, reader

PUBLISHED = {"benign": 32_542, "malignant": 584}
CLASSES = tuple(PUBLISHED)
ATTRIBUTES = {"age_approx": "age", "sex": "sex", "anatom_site_general_challenge": "site", "diagnosis": "diagnosis"}
_TABLES = ("ISIC_2020_Training_GroundTruth_v2.csv", "ISIC_2020_Training_GroundTruth.csv", "train.csv")
_DUPLICATES = "ISIC_2020_Training_Duplicates.csv"
_LAYOUT = f"{_TABLES[0]}, train/<image_name>.jpg and, if at hand, {_DUPLICATES}"


@reader(
    "isic2020",
    layout=_LAYOUT,
    about=About(
        "dermoscopy, benign or malignant",
        images="33,126",
        groups="patient",
        attributes=tuple(ATTRIBUTES.values()),
        licence="CC BY-NC 4.0",
        archive="ISIC",
    ),
)
def isic2020(root: Path) -> Catalog:
    """Two classes; images of one patient form a group, and so do patients of whom the publisher lists duplicates.

    Args:
        root: the folder that holds the ground truth, or its parent where only one such folder lies.

    Raises:
        PreceptorError: a missing table or column, a row without its image, an unknown target, a repeated image.
    """
    path = find_table(root, _TABLES, "ISIC 2020", _LAYOUT)
    table = read_csv(path, ("image_name", "patient_id", "target"))
    for column in ("image_name", "target"):
        refuse_missing(path, table, column)
    refuse_unknown(path, table, "target", ("0", "1"))
    ids = table["image_name"]
    labels = table["target"].map(dict(zip("01", CLASSES, strict=True)))
    patients, notes = tidied(table["patient_id"], ids)
    groups, of_duplicates = _joined_duplicates(path.parent / _DUPLICATES, ids, patients)
    described = attributes_of(table, ATTRIBUTES)
    rows = pd.DataFrame({"id": ids, "image": located(path.parent, ids, _LAYOUT), "label": labels, "group": groups})
    notes = [*count_notes(labels, PUBLISHED), *notes, *of_duplicates]
    return Catalog(
        "isic2020", path.parent, rows.join(described), CLASSES, tuple(notes), attribute_names=tuple(described.columns)
    )


def _joined_duplicates(path: Path, ids: pd.Series, groups: pd.Series) -> tuple[np.ndarray, list[str]]:
    if not path.is_file():
        return groups.to_numpy(str), [f"{_DUPLICATES} is not there: duplicates may be separated"]
    table = read_csv(path, ("image_name_1", "image_name_2"))
    place = {image: row for row, image in enumerate(ids)}
    pairs = [
        (place[first], place[second])
        for first, second in zip(table["image_name_1"], table["image_name_2"], strict=True)
        if first in place and second in place
    ]
    return joined(groups.to_numpy(str), pairs), [f"{len(pairs):,} pairs of duplicates are kept in one part"]
