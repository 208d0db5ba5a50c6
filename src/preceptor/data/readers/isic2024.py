"""ISIC 2024 challenge (SLICE-3D): crops of lesions from total-body photographs, benign or malignant.

Kurtansky et al., "The SLICE-3D dataset: 400,000 skin lesion image crops extracted from 3D TBP for skin cancer
detection", Scientific Data 11:884 (2024), doi:10.34970/2024-slice-3d.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import read_csv, refuse_missing
from preceptor.data.groups import tidied
from preceptor.data.layout import attributes_of, count_notes, find_table, located, refuse_unknown
from preceptor.data.readers import About, reader
from preceptor.data.sources import keys_of, member
from preceptor.utils.errors import PreceptorError, some_of

PUBLISHED = {"benign": 400_666, "malignant": 393}
CLASSES = tuple(PUBLISHED)
ATTRIBUTES = {
    "age_approx": "age",
    "sex": "sex",
    "anatom_site_general": "site",
    "attribution": "source",
    "tbp_tile_type": "device",
    "clin_size_long_diam_mm": "diameter",
}
_TABLE, _CONTAINER = "train-metadata.csv", "train-image.hdf5"
_LAYOUT = f"{_TABLE} and {_CONTAINER}, or train-image/image/<isic_id>.jpg"


@reader(
    "isic2024",
    layout=_LAYOUT,
    about=About(
        "crops of total-body photographs (SLICE-3D), benign or malignant",
        images="401,059",
        groups="patient",
        attributes=tuple(ATTRIBUTES.values()),
        licence="CC BY-NC 4.0",
        archive="ISIC",
    ),
)
def isic2024(root: Path) -> Catalog:
    """Two classes; images of one patient form a group (a ``lesion_id`` is published for few lesions alone).

    Args:
        root: the folder that holds the metadata, or its parent where only one such folder lies.

    Raises:
        PreceptorError: a missing table or column, a row without its image, an unknown target, a repeated image.
    """
    path = find_table(root, (_TABLE,), "ISIC 2024", _LAYOUT)
    table = read_csv(path, ("isic_id", "target", "patient_id"))
    for column in ("isic_id", "target"):
        refuse_missing(path, table, column)
    refuse_unknown(path, table, "target", ("0", "1"))
    ids = table["isic_id"]
    labels = table["target"].map(dict(zip("01", CLASSES, strict=True)))
    groups, notes = tidied(table["patient_id"], ids)
    container = path.parent / _CONTAINER
    images = _members(container, ids) if container.is_file() else located(path.parent, ids, _LAYOUT)
    described = attributes_of(table, ATTRIBUTES)
    rows = pd.DataFrame({"id": ids, "image": images, "label": labels, "group": groups}).join(described)
    notes = [*count_notes(labels, PUBLISHED), *notes]
    return Catalog("isic2024", path.parent, rows, CLASSES, tuple(notes), attribute_names=tuple(described.columns))


def _members(container: Path, ids: pd.Series) -> pd.Series:
    absent = ids[~ids.isin(keys_of(container))]
    if len(absent):
        raise PreceptorError(
            f"{container} lacks {len(absent):,} images: {some_of(absent)}",
            expected=f"a data set for every row of {_TABLE}",
            remedy="take both files from the same download",
        )
    return ids.map(lambda image_id: member(container.name, image_id))
