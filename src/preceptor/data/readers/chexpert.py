"""CheXpert: chest radiographs of Stanford, fourteen observations labelled by rules, some of them uncertain.

Irvin et al., "CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison", AAAI 2019.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import LINE, is_missing, read_csv, refuse_missing
from preceptor.data.layout import attributes_of, find_table
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError, some_of

LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
_VIEW = "Frontal/Lateral"
ATTRIBUTES = {"Age": "age", "Sex": "sex", _VIEW: "view", "AP/PA": "projection"}
_PATIENT = re.compile(r"patient[0-9]+")
_LAYOUT = "train.csv, valid.csv and the folders that their column Path names, below CheXpert-v1.0(-small)/"


@reader(
    "chexpert",
    layout=_LAYOUT,
    about=About(
        "chest radiographs, fourteen observations",
        tasks=("multi_label",),
        images="223,648",
        groups="patient",
        attributes=tuple(ATTRIBUTES.values()),
        licence="Stanford's research use agreement",
        parts=True,
    ),
)
def chexpert(
    root: Path,
    uncertain: Literal["missing", "positive", "negative"] = "missing",
    view: Literal["all", "frontal", "lateral"] = "all",
) -> Catalog:
    """Fourteen observations, several per image; images of one patient form a group.

    An observation that a report does not mention (a blank cell) is taken as absent, as the publisher's baselines do.
    The publisher's validation part, labelled by radiologists, is the test part here; a validation part is made of the
    training part.

    Args:
        root: the folder that holds ``train.csv``, or its parent where only one such folder lies.
        uncertain: what -1 (uncertain) becomes.
        view: which images to take.

    Raises:
        PreceptorError: a missing table or column, a row without its image, another label than 1, 0, -1 or nothing.
    """
    path = find_table(root, ("train.csv",), "CheXpert", _LAYOUT)
    tables = [(path, "train"), (path.with_name("valid.csv"), "test")]
    frames = [_of_view(table, _rows(table, part, uncertain), view) for table, part in tables if table.is_file()]
    rows = pd.concat(frames, ignore_index=True)
    notes = [f"uncertain labels are taken as {uncertain}; observations that are not mentioned as absent"]
    if len(frames) == 1:
        rows = rows.drop(columns="part")
        notes.append("valid.csv is not there, so no test part is prescribed")
    else:
        notes.append("the publisher's validation part is the test part here")
    described = tuple(name for name in ATTRIBUTES.values() if name in rows)
    return Catalog("chexpert", path.parent, rows, LABELS, tuple(notes), attribute_names=described, label_names=LABELS)


def _rows(path: Path, part: str, uncertain: str) -> pd.DataFrame:
    table = read_csv(path, ("Path", *LABELS))
    refuse_missing(path, table, "Path")
    values = table[list(LABELS)].apply(
        lambda column: pd.to_numeric(column.mask(is_missing(column), "0"), errors="coerce")
    )
    wrong = ~values.isin([1, 0, -1]).all(axis=1)
    if wrong.any():
        raise PreceptorError(
            f"{path}: another label than 1, 0, -1 or nothing on line {some_of(table.loc[wrong, LINE])}",
            expected="1 (present), 0 (absent), -1 (uncertain), or nothing (not mentioned)",
        )
    values = values.replace(-1, {"missing": np.nan, "positive": 1, "negative": 0}[uncertain])
    images = _below(path, table["Path"])
    names = np.array(LABELS)
    return pd.DataFrame(
        {
            "id": [PurePosixPath(image).with_suffix("").as_posix() for image in images],
            "image": images,
            "group": [match[0] if (match := _PATIENT.search(image)) else image for image in images],
            "label": ["|".join(names[row == 1]) for row in values.to_numpy(float)],
            "part": part,
        }
    ).join([values.astype(np.float32), attributes_of(table, ATTRIBUTES)])


def _of_view(path: Path, rows: pd.DataFrame, view: str) -> pd.DataFrame:
    """The rows of one view; all of them for ``all``."""
    if view == "all":
        return rows
    if "view" not in rows:
        raise PreceptorError(
            f"{path} has no column {_VIEW!r}, which data.view={view} needs",
            expected=f"a column {_VIEW!r} with Frontal or Lateral, as published",
            remedy="take the published table, or all views with data.view=all",
        )
    return rows[rows["view"].str.lower() == view]


def _below(path: Path, names: pd.Series) -> list[str]:
    """Paths relative to the table's folder: the tables' own start one level above it."""
    images = [name if (path.parent / name).is_file() else name.partition("/")[2] for name in names]
    absent = [name for name, image in zip(names, images, strict=True) if not (path.parent / image).is_file()]
    if absent:
        raise PreceptorError(
            f"{path.name} names {len(absent):,} images without a file below {path.parent}: {some_of(absent, 3)}",
            expected=_LAYOUT,
            remedy="unpack the images again, or remove the rows from the table",
        )
    return images
