"""PAD-UFES-20: photographs of skin lesions by smartphones, with clinical data.

Pacheco et al., "PAD-UFES-20: A skin lesion dataset composed of patient data and clinical images collected from
smartphones", Data in Brief 32:106221 (2020), doi:10.17632/zr7vgbcyr2.1.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import read_csv, refuse_missing
from preceptor.data.groups import tidied
from preceptor.data.layout import attributes_of, count_notes, find_table, located, refuse_unknown
from preceptor.data.readers import About, reader

PUBLISHED = {"ACK": 730, "BCC": 845, "MEL": 52, "NEV": 244, "SCC": 192, "SEK": 235}
CLASSES = tuple(PUBLISHED)
ATTRIBUTES = {"age": "age", "gender": "sex", "region": "site", "fitspatrick": "skin_tone", "biopsed": "biopsied"}
_LAYOUT = "metadata.csv and imgs_part_1/, imgs_part_2/, imgs_part_3/ (or images/) with <img_id>"


@reader(
    "pad_ufes_20",
    layout=_LAYOUT,
    about=About(
        "smartphone photographs of skin lesions, six diagnoses",
        images="2,298",
        groups="patient",
        attributes=tuple(ATTRIBUTES.values()),
        licence="CC BY 4.0",
    ),
)
def pad_ufes_20(root: Path) -> Catalog:
    """Six diagnoses; images of one patient form a group.

    Args:
        root: the folder that holds the metadata, or its parent where only one such folder lies.

    Raises:
        PreceptorError: a missing table or column, a row without its image, an unknown diagnosis, a repeated image.
    """
    path = find_table(root, ("metadata.csv",), "PAD-UFES-20", _LAYOUT)
    table = read_csv(path, ("patient_id", "img_id", "diagnostic"))
    for column in ("img_id", "diagnostic"):
        refuse_missing(path, table, column)
    refuse_unknown(path, table, "diagnostic", CLASSES)
    ids = table["img_id"].str.removesuffix(".png")
    groups, notes = tidied(table["patient_id"], ids)
    described = attributes_of(table, ATTRIBUTES)
    rows = pd.DataFrame(
        {
            "id": ids,
            "image": located(path.parent, table["img_id"], _LAYOUT),
            "label": table["diagnostic"],
            "group": groups,
        }
    ).join(described)
    notes = [*count_notes(rows["label"], PUBLISHED), *notes]
    return Catalog("pad_ufes_20", path.parent, rows, CLASSES, tuple(notes), attribute_names=tuple(described.columns))
