"""Diverse Dermatology Images (DDI): biopsied lesions on light, intermediate and dark skin.

Daneshjou et al., "Disparities in dermatology AI performance on a diverse, curated clinical image set", Science
Advances 8 (2022), eabq6147.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import read_csv, refuse_absent, refuse_missing
from preceptor.data.layout import attributes_of, count_notes, find_table, located
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError

PUBLISHED = {"benign": 485, "malignant": 171}
CLASSES = tuple(PUBLISHED)
ATTRIBUTES = {"skin_tone": "skin_tone", "disease": "disease"}
_TRUTH = ("malignant", "malignancy(malig=1)")
_VALUES = {"true": "malignant", "1": "malignant", "1.0": "malignant", "false": "benign", "0": "benign", "0.0": "benign"}
_LAYOUT = "ddi_metadata.csv (DDI_file, skin_tone, malignant) and images/<DDI_file>"


@reader(
    "ddi",
    layout=_LAYOUT,
    about=About(
        "clinical photographs of biopsied lesions, by skin tone",
        images="656",
        attributes=tuple(ATTRIBUTES.values()),
        licence="Stanford's research use agreement",
    ),
)
def ddi(root: Path) -> Catalog:
    """Benign or malignant by biopsy; the attribute ``skin_tone`` is 12, 34 or 56 (Fitzpatrick types I-II, …).

    Args:
        root: the folder that holds the table, or its parent where only one such folder lies.

    Raises:
        PreceptorError: a missing table or column, a row without its image, another label than true or false.
    """
    path = find_table(root, ("ddi_metadata.csv",), "DDI", _LAYOUT)
    table = read_csv(path, ("DDI_file", "skin_tone"))
    truth = next((name for name in _TRUTH if name in table.columns), "")
    if not truth:
        refuse_absent(path, table.columns, _TRUTH[:1])
    for column in ("DDI_file", truth):
        refuse_missing(path, table, column)
    labels = table[truth].str.strip().str.lower().map(_VALUES)
    if labels.isna().any():
        raise PreceptorError(
            f"{path}: {truth} is {table.loc[labels.isna(), truth].iloc[0]!r}", expected="true or false"
        )
    ids = table["DDI_file"].str.rsplit(".", n=1).str[0]
    described = attributes_of(table, ATTRIBUTES)
    rows = pd.DataFrame(
        {"id": ids, "image": located(path.parent, table["DDI_file"], _LAYOUT), "label": labels, "group": ids}
    )
    notes = (*count_notes(labels, PUBLISHED), "no groups known: images of one patient are not told apart")
    return Catalog("ddi", path.parent, rows.join(described), CLASSES, notes, attribute_names=tuple(described.columns))
