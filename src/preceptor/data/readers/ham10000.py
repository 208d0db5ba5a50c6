"""HAM10000 as its publisher and Kaggle hand it out.

Tschandl, Rosendahl, Kittler, "The HAM10000 dataset, a large collection of multi-source dermatoscopic images of common
pigmented skin lesions", Scientific Data 5:180161 (2018), doi:10.7910/DVN/DBW86T. Lesion masks: Tschandl et al.,
"Human-computer collaboration for skin cancer recognition", Nature Medicine 26 (2020).
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import LINE, read_csv, refuse_missing
from preceptor.data.readers import reader
from preceptor.errors import PreceptorError, did_you_mean, some_of

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
IMAGES = 10_015
_TABLES = ("HAM10000_metadata.csv", "HAM10000_metadata")  # Kaggle's name, and Dataverse's
_PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
_MASKS = "HAM10000_segmentations_lesion_tschandl"
_LAYOUT = f"{_TABLES[0]}, {_PARTS[0]}/, {_PARTS[1]}/ and, if at hand, {_MASKS}/"


@reader("ham10000", layout=_LAYOUT)
def ham10000(root: Path) -> Catalog:
    """Seven classes of pigmented lesions; images of one lesion form a group, masks are used when their folder is there.

    Args:
        root: the folder that holds the metadata table, or its parent where only one such folder lies.

    Raises:
        PreceptorError: a missing table, column or folder, a label without its image, an image that lies in both
            folders or has no mask while others have one, an unknown or missing diagnosis, a repeated id.
    """
    metadata = _find_table(root)
    root = metadata.parent
    table = read_csv(metadata, ("lesion_id", "image_id", "dx"))
    for column in ("lesion_id", "image_id", "dx"):
        refuse_missing(metadata, table, column)
    _refuse_unknown_classes(metadata, table)
    images = _image_paths(root)
    ids = table["image_id"]
    absent = ids[~ids.isin(images.keys())]
    if len(absent):
        raise PreceptorError(
            f"{metadata.name} names {len(absent)} image{'s' if len(absent) > 1 else ''} without a file in {root}: "
            f"{some_of(absent)}",
            expected=f"<image_id>.jpg in {_PARTS[0]}/ or {_PARTS[1]}/",
            remedy="unpack both parts of the images, or remove the rows from the table",
        )
    notes = []
    if len(table) != IMAGES:
        notes.append(f"this copy has {len(table):,} of the {IMAGES:,} published images")
    if extra := len(images.keys() - set(ids)):
        notes.append(f"{extra:,} image files that {metadata.name} does not name are not used")
    masks = [f"{_MASKS}/{name}" for name in _mask_names(root, ids)]
    if not masks:
        notes.append(f"no lesion masks ({_MASKS}/ is not there)")
    rows = pd.DataFrame(
        {
            "id": ids,
            "image": ids.map(images),
            "label": table["dx"],
            "group": table["lesion_id"],
            "mask": masks or "",
        }
    )
    return Catalog("ham10000", root, rows, CLASSES, tuple(notes))


def _find_table(root: Path) -> Path:
    if not root.is_dir():
        raise PreceptorError(f"{root} is not a folder", expected=f"a folder with {_LAYOUT}")
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    found = {folder: folder / name for name in reversed(_TABLES) for folder in folders if (folder / name).is_file()}
    if root in found:
        return found[root]
    if len(found) > 1:
        raise PreceptorError(
            f"{root} holds several copies of HAM10000: {some_of(sorted(folder.name for folder in found))}",
            remedy="give one of them as --root",
        )
    if not found:
        raise PreceptorError(
            f"{root} holds no {_TABLES[0]}",
            expected=f"a folder with {_LAYOUT}",
            remedy="give the folder that HAM10000 was unpacked into as --root",
        )
    return next(iter(found.values()))


def _refuse_unknown_classes(metadata: Path, table: pd.DataFrame) -> None:
    unknown = table[~table["dx"].isin(CLASSES)]
    if len(unknown):
        first = unknown.iloc[0]
        raise PreceptorError(
            f"{metadata}: unknown diagnosis {first['dx']!r} on line {some_of(unknown[LINE])}."
            f"{did_you_mean(first['dx'], CLASSES)}",
            expected=f"dx is one of {', '.join(CLASSES)}",
        )


def _image_paths(root: Path) -> dict[str, str]:
    """Image id -> path below root. Which image lies in which part differs between copies, so both are read."""
    found: dict[str, str] = {}
    for part in _PARTS:
        for name in _files(root / part, ".jpg"):
            image_id = name.removesuffix(".jpg")
            if image_id in found:
                raise PreceptorError(
                    f"{root}: {name} lies in both {_PARTS[0]}/ and {_PARTS[1]}/",
                    expected="each image in one of the two folders",
                    remedy="remove one of the two files",
                )
            found[image_id] = f"{part}/{name}"
    return found


def _mask_names(root: Path, ids: pd.Series) -> list[str]:
    if not (root / _MASKS).exists():
        return []
    found = set(_files(root / _MASKS, ".png"))
    names = [f"{image_id}_segmentation.png" for image_id in ids]
    absent = [name for name in names if name not in found]
    if absent:
        raise PreceptorError(
            f"{root / _MASKS} lacks {len(absent)} of {len(names)} masks: {some_of(absent)}",
            expected="a mask for every image, or no such folder",
            remedy="unpack the masks again, or move the folder away to work without masks",
        )
    return names


def _files(folder: Path, suffix: str) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(suffix))
    except (FileNotFoundError, NotADirectoryError):
        raise PreceptorError(
            f"the folder {folder} is missing",
            expected=f"{_LAYOUT}, in one folder",
            remedy="unpack the archive of that name there",
        ) from None
