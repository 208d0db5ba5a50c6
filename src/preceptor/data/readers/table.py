"""One CSV file that names the images and their labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from preceptor.data.catalog import UNLABELLED, Catalog
from preceptor.data.csvfile import LINE, is_missing, read_csv, refuse_absent, refuse_missing
from preceptor.data.readers import reader
from preceptor.utils.errors import PreceptorError, did_you_mean, some_of


@reader("table", layout="a CSV file with the columns image, label or mask (or both) and, if known, group")
def table(
    root: Path,
    csv: str = "",
    image: str = "image",
    label: str = "label",
    group: str = "group",
    mask: str = "mask",
    id: str = "",
    separator: str = ",",
    mask_classes: str = "",
) -> Catalog:
    """Images and labels by a table; labels stay the strings that they are ("0", "01", "NA").

    Paths of images and masks start from the folder of the table. Where all labels are whole numbers the classes are in
    numerical order, else in alphabetical order. A table with masks and without labels serves segmentation alone.

    Args:
        root: the CSV file, or a folder that holds one.
        csv: the file's name in the folder, where it holds several.
        image: column with the image's path.
        label: column with its class; may be absent where there are masks.
        group: column with the lesion or patient; without such a column images are taken as unrelated.
        mask: column with the path of the image's mask; may be absent where there are labels.
        id: column with a unique id; the image's path when empty.
        separator: what stands between two fields of the file.
        mask_classes: what the values 0, 1, … of the masks mean, as in ``background,disc,cup``; background and
            foreground when empty.

    Raises:
        PreceptorError: no table or several, a missing column, a row without a value, a label without a file, a
            repeated id or image, names of mask classes that repeat or have no masks.
    """
    path = _find_csv(root, csv)
    chosen = {"label": label, "group": group, "mask": mask}
    required = [image, *([id] if id else []), *(name for usual, name in chosen.items() if name != usual)]
    rows = read_csv(path, required, separator=separator)
    group, mask = (name if name in rows.columns else "" for name in (group, mask))
    if label not in rows.columns:
        if not mask or did_you_mean(label, rows.columns):  # a slip of the pen is not taken for the wish to have none
            refuse_absent(path, rows.columns.drop(LINE), [image, label])
        label = ""
    for column in filter(None, (image, label or mask, id, group)):
        refuse_missing(path, rows, column)
    result = _catalog_rows(rows, image, label, group, mask, id)
    _refuse_repeats(path, rows, image)
    _refuse_missing_files(path, rows, result)
    names = _mask_classes(path, mask_classes, bool((result["mask"] != "").any()))
    notes = _notes(result, bool(label), bool(group), bool(mask))
    return Catalog("table", path.parent, result, _classes(path, result["label"]), notes, mask_classes=names)


def _catalog_rows(rows: pd.DataFrame, image: str, label: str, group: str, mask: str, id: str) -> pd.DataFrame:
    """The file's columns by the catalog's names; a column that the file lacks is ``""``."""
    ids = rows[id or image]
    return pd.DataFrame(
        {
            "id": ids,
            "image": rows[image],
            "label": rows[label] if label else UNLABELLED,
            "group": rows[group] if group else ids,
            "mask": rows[mask].mask(is_missing(rows[mask]), "") if mask else "",
        }
    )


def _notes(rows: pd.DataFrame, labels: bool, groups: bool, masks: bool) -> tuple[str, ...]:
    notes = []
    if not labels:
        notes.append("no labels: for segmentation only")
    if not groups:
        notes.append("no groups known: every image is taken as unrelated to the others (data.group names their column)")
    if masks and (without := int((rows["mask"] == "").sum())):
        notes.append(f"{without:,} of {len(rows):,} images have no mask")
    return tuple(notes)


def _mask_classes(path: Path, text: str, any_masks: bool) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",")) if text else ()
    if names and not any_masks:
        raise PreceptorError(
            f"data.mask_classes={text}, but {path} names no masks", expected="a column with the path of each mask"
        )
    if names and (len(names) < 2 or "" in names or len(set(names)) < len(names)):
        raise PreceptorError(
            f"data.mask_classes={text}", expected="two or more different names, as in background,disc,cup"
        )
    return names


def _find_csv(root: Path, name: str) -> Path:
    if root.is_file():
        if name:
            raise PreceptorError(
                f"--root {root} is a file, and data.csv={name} names another", remedy="give one of them"
            )
        return root
    if name:
        if not (root / name).is_file():
            raise PreceptorError(f"{root} holds no file {name} (data.csv)", expected="the name of a CSV file in --root")
        return root / name
    found = sorted(path for path in root.iterdir() if path.suffix.lower() == ".csv")
    if not found:
        raise PreceptorError(
            f"{root} holds no CSV file", expected="one, with the columns image and label, or image and mask"
        )
    if len(found) > 1:
        raise PreceptorError(
            f"{root} holds several CSV files: {some_of(path.name for path in found)}",
            expected="one of them, named",
            remedy=f"add data.csv={found[0].name}",
        )
    return found[0]


def _refuse_repeats(path: Path, rows: pd.DataFrame, image: str) -> None:
    twice = rows[rows[image].duplicated(keep=False)]
    if len(twice):
        raise PreceptorError(
            f"{path} names images more than once: {some_of(sorted(set(twice[image])))} (line {some_of(twice[LINE])})",
            expected="one row for each image",
            remedy="remove the repeated rows",
        )


def _refuse_missing_files(path: Path, rows: pd.DataFrame, result: pd.DataFrame) -> None:
    for column in ("image", "mask"):
        absent = np.array([name != "" and not (path.parent / name).is_file() for name in result[column]], dtype=bool)
        if absent.any():
            lines = rows.loc[absent, LINE]
            raise PreceptorError(
                f"{path} names {int(absent.sum())} {column} files that are not there: "
                f"{some_of(result.loc[absent, column])} (line {some_of(lines)})",
                expected=f"paths below {path.parent}, with the ending",
                remedy="correct the paths, or remove the rows",
            )


def _classes(path: Path, labels: pd.Series) -> tuple[str, ...]:
    found = sorted(set(labels))
    blank = [name for name in found if name != name.strip()]
    if blank:
        raise PreceptorError(
            f"{path}: labels with blanks around them: {some_of(map(repr, blank))}",
            expected="labels without blanks, so that no class is counted as two",
        )
    if all(name.isascii() and name.isdigit() for name in found):
        found.sort(key=lambda name: (int(name), name))
    return tuple(found)
