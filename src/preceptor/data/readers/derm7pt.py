"""Derm7pt: dermoscopic and clinical images of the same lesions, five diagnoses, with the publisher's split.

Kawahara et al., "Seven-Point Checklist and Skin Lesion Classification Using Multitask Multimodal Neural Nets", IEEE
Journal of Biomedical and Health Informatics 23 (2019); the five diagnoses are those of its Table I.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import LINE, read_csv, refuse_missing
from preceptor.data.layout import attributes_of, located, no_such_layout
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError, some_of

CLASSES = ("BCC", "NEV", "MEL", "MISC", "SK")
ATTRIBUTES = {
    "sex": "sex",
    "location": "site",
    "elevation": "elevation",
    "level_of_diagnostic_difficulty": "difficulty",
}
_MISCELLANEOUS = {"dermatofibroma", "lentigo", "melanosis", "miscellaneous", "vascular lesion"}
_LISTS = {"train_indexes.csv": "train", "valid_indexes.csv": "validation", "test_indexes.csv": "test"}
_LAYOUT = "release_v0/ with images/, meta/meta.csv and meta/{train,valid,test}_indexes.csv"


@reader(
    "derm7pt",
    layout=_LAYOUT,
    about=About(
        "dermoscopic and clinical images of the same lesions, five diagnoses",
        images="1,011 of each kind",
        groups="case",
        attributes=(*ATTRIBUTES.values(), "modality"),
        licence="registration with the publisher",
        parts=True,
    ),
)
def derm7pt(root: Path, image: Literal["derm", "clinic", "both"] = "derm") -> Catalog:
    """Five diagnoses of a lesion by its dermoscopic image, its clinical one, or both as two images of one group.

    Args:
        root: ``release_v0``, or the folder that holds it.
        image: which image of a case to take.

    Raises:
        PreceptorError: a missing table or column, a row without its image, an unknown diagnosis, a case in no part or
            in several.
    """
    tops = [top for top in (root, root / "release_v0") if (top / "meta" / "meta.csv").is_file()]
    if not tops:
        raise no_such_layout(root, "meta/meta.csv", "Derm7pt", _LAYOUT)
    path = tops[0] / "meta" / "meta.csv"
    kinds = ("derm", "clinic") if image == "both" else (image,)
    table = read_csv(path, ("case_num", "diagnosis", *kinds))
    for column in ("case_num", "diagnosis", *kinds):
        refuse_missing(path, table, column)
    labels = table["diagnosis"].str.strip().str.lower().map(_class_of)
    if (labels == "").any():
        unknown = table.loc[labels == "", "diagnosis"]
        raise PreceptorError(f"{path}: unknown diagnosis {some_of(sorted(set(unknown)))}", expected=f"of {CLASSES}")
    described = attributes_of(table, ATTRIBUTES)
    parts = _parts(path.parent, table)
    frames = []
    for kind in kinds:
        files = located(tops[0], table[kind], _LAYOUT, "images")
        rows = pd.DataFrame({"image": files, "label": labels, "group": "case " + table["case_num"], "part": parts})
        rows["id"] = table["case_num"] + (f"-{kind}" if image == "both" else "")
        frames.append(rows.join(described).assign(modality=kind))
    names = (*described, "modality")
    return Catalog("derm7pt", tops[0], pd.concat(frames, ignore_index=True), CLASSES, (), attribute_names=names)


def _class_of(diagnosis: str) -> str:
    if diagnosis == "basal cell carcinoma":
        return "BCC"
    if diagnosis.startswith("melanoma"):
        return "MEL"
    if diagnosis == "seborrheic keratosis":
        return "SK"
    return "NEV" if diagnosis.endswith("nevus") else "MISC" if diagnosis in _MISCELLANEOUS else ""


def _parts(folder: Path, table: pd.DataFrame) -> pd.Series:
    """The part of each row, by its position in the table; all rows have one."""
    parts = pd.Series("", index=table.index)
    for name, part in _LISTS.items():
        numbers = read_csv(folder / name, ("indexes",))["indexes"]
        rows = pd.to_numeric(numbers, errors="coerce")
        outside = numbers[~rows.isin(table.index)]
        if len(outside):
            raise PreceptorError(f"{folder / name}: no row {some_of(outside)} in meta.csv", expected="rows, from 0")
        inside = parts.index.isin(rows)
        if (parts[inside] != "").any():
            raise PreceptorError(f"{folder / name}: cases that another part has too", expected="each case in one part")
        parts[inside] = part
    if (parts == "").any():
        raise PreceptorError(
            f"{folder}: no part has line {some_of(table.loc[parts == '', LINE])} of meta.csv",
            expected="each case in one part",
        )
    return parts
