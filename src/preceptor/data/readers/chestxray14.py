"""NIH ChestX-ray14: frontal chest radiographs, fourteen findings mined from reports.

Wang et al., "ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised Classification and
Localization of Common Thorax Diseases", CVPR 2017.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import LINE, read_csv, refuse_missing
from preceptor.data.groups import tidied
from preceptor.data.layout import attributes_of, find_table, located
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError, some_of

LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
ATTRIBUTES = {"Patient Age": "age", "Patient Gender": "sex", "View Position": "view"}
_NONE = "No Finding"
_TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
_LAYOUT = f"{_TABLES[0]}, images_001/images/<Image Index> … images_012/, and train_val_list.txt, test_list.txt"


@reader(
    "chestxray14",
    layout=_LAYOUT,
    about=About(
        "chest radiographs, fourteen findings",
        tasks=("multi_label",),
        images="112,120",
        groups="patient",
        attributes=tuple(ATTRIBUTES.values()),
        licence="free use with attribution to the NIH Clinical Center",
        parts=True,
    ),
)
def chestxray14(root: Path) -> Catalog:
    """Fourteen findings, several per image; images of one patient form a group; the official test part where listed.

    Args:
        root: the folder that holds the table, or its parent where only one such folder lies.

    Raises:
        PreceptorError: a missing table or column, a row without its image, an unknown finding, a repeated image.
    """
    path = find_table(root, _TABLES, "ChestX-ray14", _LAYOUT)
    table = read_csv(path, ("Image Index", "Finding Labels", "Patient ID"))
    for column in ("Image Index", "Finding Labels"):
        refuse_missing(path, table, column)
    ids = table["Image Index"]
    findings = table["Finding Labels"].str.split("|")
    unknown = ~findings.map(lambda names: set(names) <= {*LABELS, _NONE})
    if unknown.any():
        raise PreceptorError(
            f"{path}: unknown finding in {table.loc[unknown, 'Finding Labels'].iloc[0]!r} "
            f"(line {some_of(table.loc[unknown, LINE])})",
            expected=f"{', '.join(LABELS)} or {_NONE}, with | between them",
        )
    groups, notes = tidied(table["Patient ID"], ids)
    parts, of_parts = _parts(path.parent, ids)
    described = attributes_of(table, ATTRIBUTES)
    rows = pd.DataFrame(
        {"id": ids, "image": located(path.parent, ids, _LAYOUT), "group": groups, "part": parts}
        | {"label": table["Finding Labels"].replace(_NONE, "")}
        | {name: findings.map(lambda names, name=name: float(name in names)) for name in LABELS}
    ).join(described)
    return Catalog(
        "chestxray14", path.parent, rows, LABELS, (*notes, *of_parts), attribute_names=tuple(described.columns),
        label_names=LABELS,
    )  # fmt: skip


def _parts(root: Path, ids: pd.Series) -> tuple[pd.Series, list[str]]:
    part_of: dict[str, str] = {}
    for name, part in _LISTS.items():
        if not (root / name).is_file():
            return pd.Series("", index=ids.index), [f"{name} is not there: the official test part is not known"]
        part_of |= dict.fromkeys((root / name).read_text().split(), part)
    return ids.map(part_of).fillna(""), []
