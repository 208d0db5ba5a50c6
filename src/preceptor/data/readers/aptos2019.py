"""APTOS 2019 Blindness Detection as Kaggle hands it out: fundus photographs, graded for diabetic retinopathy.

Asia Pacific Tele-Ophthalmology Society, with Aravind Eye Hospital; kaggle.com/c/aptos2019-blindness-detection.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import read_csv, refuse_missing
from preceptor.data.layout import count_notes, find_table, matched, refuse_unknown
from preceptor.data.readers import About, reader

#: The grades 0 to 4 in words, and how many training images have each.
PUBLISHED = {"no DR": 1805, "mild": 370, "moderate": 999, "severe": 193, "proliferative": 295}
CLASSES = tuple(PUBLISHED)
_LAYOUT = "train.csv (id_code, diagnosis) and train_images/<id_code>.png"


@reader(
    "aptos2019",
    layout=_LAYOUT,
    about=About(
        "fundus photographs, grades of diabetic retinopathy",
        tasks=("ordinal",),
        images="3,662",
        licence="Kaggle's rules",
    ),
)
def aptos2019(root: Path) -> Catalog:
    """Five grades of diabetic retinopathy, in their order; every image is a group of its own.

    Args:
        root: the folder that holds ``train.csv``, or its parent where only one such folder lies.

    Raises:
        PreceptorError: a missing table, column or folder, a row without its image, an unknown grade, a repeated id.
    """
    path = find_table(root, ("train.csv",), "APTOS 2019", _LAYOUT)
    table = read_csv(path, ("id_code", "diagnosis"))
    for column in ("id_code", "diagnosis"):
        refuse_missing(path, table, column)
    grades = {str(grade): name for grade, name in enumerate(CLASSES)}
    refuse_unknown(path, table, "diagnosis", tuple(grades))
    ids = table["id_code"]
    images, notes = matched(path, ids, "train_images", ".png", _LAYOUT)
    rows = pd.DataFrame({"id": ids, "image": images, "label": table["diagnosis"].map(grades), "group": ids})
    notes = [
        *count_notes(rows["label"], PUBLISHED),
        *notes,
        "no groups known: which eyes belong to one patient is not published, so a split may separate them",
    ]
    return Catalog("aptos2019", path.parent, rows, CLASSES, tuple(notes))
