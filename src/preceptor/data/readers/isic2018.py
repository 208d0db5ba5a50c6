"""ISIC 2018 challenge: lesion masks (task 1) and seven classes (task 3) of dermoscopy.

Codella et al., "Skin Lesion Analysis Toward Melanoma Detection 2018", arXiv:1902.03368; Tschandl et al., Scientific
Data 5:180161 (2018), whose images those of task 3 are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd

from preceptor.data.catalog import UNLABELLED, Catalog
from preceptor.data.csvfile import read_csv, refuse_missing
from preceptor.data.groups import tidied
from preceptor.data.label_columns import several_columns
from preceptor.data.layout import files_in, image_folder, located, no_such_layout
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError, some_of

CLASSES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
_PARTS = {"Training": "train", "Validation": "validation", "Test": "test"}
_LAYOUT = (
    "ISIC2018_Task1-2_Training_Input/ and ISIC2018_Task1_Training_GroundTruth/ (also Validation and Test), or "
    "ISIC2018_Task3_Training_Input/ and ISIC2018_Task3_Training_GroundTruth/ with its table"
)


@reader(
    "isic2018",
    layout=_LAYOUT,
    about=About(
        "dermoscopy: lesion masks (task 1), seven classes (task 3)",
        tasks=("segmentation", "classification"),
        images="3,694 (task 1), 10,015 and more (task 3)",
        groups="lesion (task 3)",
        licence="CC0 (task 1), CC BY-NC 4.0 (task 3)",
        parts=True,
        archive="ISIC",
    ),
)
def isic2018(root: Path, task: Literal["auto", "1", "3"] = "auto") -> Catalog:
    """Lesion masks or classes, in the parts of the challenge where their ground truth is there.

    Args:
        root: the folder that holds the folders of the challenge.
        task: ``1`` (masks) or ``3`` (classes); by what is there when ``auto``.

    Raises:
        PreceptorError: neither task is there, or both are and none is named; an image without its mask or row.
    """
    there = [name for name, folders in (("1", _folders(root, "1-2")), ("3", _folders(root, "3"))) if folders]
    if task == "auto" and len(there) == 2:
        raise PreceptorError(f"{root} holds tasks 1 and 3", remedy="name one: data.task=1 or data.task=3")
    chosen = (there or [""])[0] if task == "auto" else task
    if chosen not in there:
        raise no_such_layout(root, f"ISIC2018_Task{chosen or '3'}_Training_Input/", "ISIC 2018", _LAYOUT)
    return _masks(root) if chosen == "1" else _classes(root)


def _folders(root: Path, task: str) -> dict[str, str]:
    """Part of the challenge -> its folder of images."""
    names = {part: f"ISIC2018_Task{task}_{part}_Input" for part in _PARTS}
    return {part: image_folder(root, name) for part, name in names.items() if (root / name).is_dir()}


def _masks(root: Path) -> Catalog:
    frames, lacking = [], []
    for part, folder in _folders(root, "1-2").items():
        truth = image_folder(root, f"ISIC2018_Task1_{part}_GroundTruth")
        if not (root / truth).is_dir():
            lacking.append(part)
            continue
        ids = [name.removesuffix(".jpg") for name in files_in(root / folder, ".jpg", _LAYOUT)]
        masks = set(files_in(root / truth, ".png", _LAYOUT))
        absent = [name for name in ids if f"{name}_segmentation.png" not in masks]
        if absent:
            raise PreceptorError(
                f"{root / truth} lacks the masks of {len(absent):,} images: {some_of(absent)}",
                expected="<image>_segmentation.png for every image",
                remedy="unpack the masks again",
            )
        rows = pd.DataFrame({"id": ids, "group": ids, "label": UNLABELLED, "part": _PARTS[part]})
        rows["image"] = f"{folder}/" + rows["id"] + ".jpg"
        rows["mask"] = f"{truth}/" + rows["id"] + "_segmentation.png"
        frames.append(rows)
    if not frames:
        raise no_such_layout(root, "ISIC2018_Task1_Training_GroundTruth/", "ISIC 2018", _LAYOUT)
    notes = ["no labels: for segmentation only", "no groups known: images of one lesion are not told apart"]
    notes += [f"the images of {some_of(lacking)} are left out: their masks are not there"] if lacking else []
    rows = pd.concat(frames, ignore_index=True)
    rows = rows if rows["part"].nunique() > 1 else rows.drop(columns="part")  # the training part alone is not a split
    return Catalog("isic2018", root, rows, (UNLABELLED,), tuple(notes), mask_classes=("background", "lesion"))


def _classes(root: Path) -> Catalog:
    frames, notes = [], []
    for part, folder in _folders(root, "3").items():
        name = f"ISIC2018_Task3_{part}_GroundTruth"
        tables = [path for path in (root / name / f"{name}.csv", root / f"{name}.csv") if path.is_file()]
        if not tables:
            notes.append(f"the images of {part} are left out: {name}.csv is not there")
            continue
        table = read_csv(tables[0], ("image", *CLASSES))
        refuse_missing(tables[0], table, "image")
        labels = several_columns(tables[0], table, CLASSES)
        if labels.matrix is not None:
            raise PreceptorError(f"{tables[0]}: images without exactly one class", expected="one 1 in each row")
        groups, of_groups = _lesions(root, part, table["image"])
        rows = pd.DataFrame({"id": table["image"], "label": labels.text, "group": groups, "part": _PARTS[part]})
        rows["image"] = located(root, table["image"], _LAYOUT, folder)
        frames.append(rows)
        notes += of_groups
    if not frames:
        raise no_such_layout(root, "ISIC2018_Task3_Training_GroundTruth.csv", "ISIC 2018", _LAYOUT)
    rows = pd.concat(frames, ignore_index=True)
    rows = rows if rows["part"].nunique() > 1 else rows.drop(columns="part")
    return Catalog("isic2018", root, rows, CLASSES, tuple(notes))


def _lesions(root: Path, part: str, ids: pd.Series) -> tuple[pd.Series, list[str]]:
    names = (f"ISIC2018_Task3_{part}_LesionGroupings.csv", f"ISIC2018_Task3_{part}_GroundTruth")
    paths = [path for path in (root / names[0], root / names[1] / names[0]) if path.is_file()]
    if not paths:
        return ids, [f"no groups known: {names[0]} is not there, and images of one lesion may be separated"]
    table = read_csv(paths[0], ("image", "lesion_id"))
    lesions = dict(zip(table["image"], table["lesion_id"], strict=True))
    return tidied(ids.map(lesions).fillna(""), ids)
