"""Fitzpatrick17k: clinical images of skin conditions from two atlases, with the Fitzpatrick skin type.

Groh et al., "Evaluating Deep Neural Networks Trained on Clinical Images in Dermatology with the Fitzpatrick 17k
Dataset", CVPR Workshops 2021.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import read_csv, refuse_missing
from preceptor.data.file_finder import FileFinder
from preceptor.data.layout import attributes_of, find_table
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError

IMAGES = 16_577
ATTRIBUTES = {"fitzpatrick_scale": "skin_tone", "fitzpatrick_centaur": "skin_tone_centaur", "qc": "quality"}
_COLUMNS = {"three": "three_partition_label", "nine": "nine_partition_label", "condition": "label"}
_LAYOUT = "fitzpatrick17k.csv and the images as <md5hash>.jpg in any folder below"


@reader(
    "fitzpatrick17k",
    layout=_LAYOUT,
    about=About(
        "clinical photographs of skin conditions, by skin type",
        images=f"{IMAGES:,}",
        attributes=tuple(ATTRIBUTES.values()),
        licence="CC BY-NC-SA 3.0 (the table; images by their sources)",
    ),
)
def fitzpatrick17k(root: Path, classes: Literal["three", "nine", "condition"] = "three") -> Catalog:
    """Skin conditions in three groups (benign, malignant, non-neoplastic), in nine, or all 114.

    The publisher lists addresses, not images, and some are gone: rows without a file are left out, and counted in a
    note. There are near-duplicates across conditions: ``preceptor data check --duplicates`` lists them.

    Args:
        root: the folder that holds the table, or its parent where only one such folder lies.
        classes: how fine the labels are.

    Raises:
        PreceptorError: a missing table or column, no image at all, a repeated hash.
    """
    path = find_table(root, ("fitzpatrick17k.csv",), "Fitzpatrick17k", _LAYOUT)
    column = _COLUMNS[classes]
    table = read_csv(path, ("md5hash", "fitzpatrick_scale", column))
    for name in ("md5hash", column):
        refuse_missing(path, table, name)
    images = table["md5hash"].map(FileFinder(path.parent).find)
    if not images.any():
        raise PreceptorError(f"{path.parent} holds none of the images of {path.name}", expected=_LAYOUT)
    described = attributes_of(table, ATTRIBUTES)
    for scale in ("skin_tone", "skin_tone_centaur"):
        if scale in described:
            described[scale] = described[scale].replace({"-1": "", "-1.0": ""})
    ids = table["md5hash"]
    rows = pd.DataFrame({"id": ids, "image": images, "label": table[column], "group": ids}).join(described)
    rows = rows[images != ""]
    notes = ["no groups known: images of one patient are not told apart, and there are duplicates"]
    if without := int((images == "").sum()):
        notes.append(f"{without:,} of the {len(table):,} rows have no image file and are left out")
    names = tuple(sorted(set(rows["label"])))
    return Catalog("fitzpatrick17k", path.parent, rows, names, tuple(notes), attribute_names=tuple(described.columns))
