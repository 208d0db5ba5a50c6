"""Histopathologic Cancer Detection as Kaggle hands it out: PatchCamelyon without its duplicates.

Veeling et al., "Rotation Equivariant CNNs for Digital Pathology", MICCAI 2018; tiles of CAMELYON16 (Ehteshami Bejnordi
et al., JAMA 318, 2017); kaggle.com/c/histopathologic-cancer-detection.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import read_csv, refuse_missing
from preceptor.data.layout import count_notes, find_table, matched, refuse_unknown
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError
from preceptor.utils.randomness import seed_of

#: The labels 0 and 1 in words (of the central 32 x 32 pixels), and how many training tiles have each.
PUBLISHED = {"no tumour": 130_908, "tumour": 89_117}
CLASSES = tuple(PUBLISHED)
_LAYOUT = "train_labels.csv (id, label) and train/<id>.tif"


@reader(
    "histopathologic",
    layout=_LAYOUT,
    about=About("tiles of lymph nodes, with or without tumour (PCam at Kaggle)", images="220,025", licence="CC0"),
)
def histopathologic(root: Path, balanced: Annotated[int, Field(ge=0)] = 0) -> Catalog:
    """Tiles of lymph nodes with and without tumour; every tile is a group of its own.

    Args:
        root: the folder that holds ``train_labels.csv``, or its parent where only one such folder lies.
        balanced: so many tiles, half of each class, chosen by their ids alone, and so that a smaller choice is part
            of a larger one; all tiles when 0. (Niyaz 2024 takes 20,000.)

    Raises:
        PreceptorError: a missing table, column or folder, a row without its tile, an unknown label, a repeated id, an
            odd ``balanced`` or more than there is.
    """
    path = find_table(root, ("train_labels.csv",), "Histopathologic Cancer Detection", _LAYOUT)
    table = read_csv(path, ("id", "label"))
    for column in ("id", "label"):
        refuse_missing(path, table, column)
    refuse_unknown(path, table, "label", ("0", "1"))
    ids = table["id"]
    images, notes = matched(path, ids, "train", ".tif", _LAYOUT)
    labels = table["label"].map(dict(zip("01", CLASSES, strict=True)))
    rows = pd.DataFrame({"id": ids, "image": images, "label": labels, "group": ids})
    notes = [*count_notes(labels, PUBLISHED), *notes]
    if balanced:
        notes.append(f"a balanced choice of {balanced:,} of the {len(rows):,} tiles, the same every time")
        rows = _balanced(rows, balanced)
    notes.append(
        "no groups known: patient and slide of a tile are not published, so both sides of a split may share them"
    )
    return Catalog("histopathologic", path.parent, rows, CLASSES, tuple(notes))


def _balanced(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    half, least = count // 2, int(rows["label"].value_counts().reindex(CLASSES, fill_value=0).min())
    if count % 2 or half > least:
        raise PreceptorError(
            f"data.balanced={count}: the smaller class has {least:,} tiles",
            expected=f"an even number up to {2 * least:,}",
        )
    rows = rows.sort_values("id")  # whatever the order of the table
    order = np.random.default_rng(seed_of(0, "histopathologic/balanced")).permutation(len(rows))
    return rows.iloc[order].groupby("label").head(half)
