"""HAM10000 as its publisher and Kaggle hand it out.

Tschandl, Rosendahl, Kittler, "The HAM10000 dataset, a large collection of multi-source dermatoscopic images of common
pigmented skin lesions", Scientific Data 5:180161 (2018), doi:10.7910/DVN/DBW86T. Lesion masks: Tschandl et al.,
"Human-computer collaboration for skin cancer recognition", Nature Medicine 26 (2020).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import read_csv, refuse_missing
from preceptor.data.layout import attributes_of, count_notes, files_in, find_table, image_folder, refuse_unknown
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError, some_of

PUBLISHED = {"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142}
CLASSES = tuple(PUBLISHED)
MASK_CLASSES = ("background", "lesion")
ATTRIBUTES = {"age": "age", "sex": "sex", "localization": "site"}
_TABLES = ("HAM10000_metadata.csv", "HAM10000_metadata")  # Kaggle's name, and Dataverse's
_PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
_MASKS = "HAM10000_segmentations_lesion_tschandl"
_LAYOUT = f"{_TABLES[0]}, {_PARTS[0]}/, {_PARTS[1]}/ and, if at hand, {_MASKS}/"


@reader(
    "ham10000",
    layout=_LAYOUT,
    about=About(
        "dermoscopy, seven classes of pigmented lesions",
        tasks=("classification", "segmentation"),
        images="10,015",
        groups="lesion",
        attributes=tuple(ATTRIBUTES.values()),
        licence="CC BY-NC 4.0",
        archive="ISIC",
    ),
)
def ham10000(root: Path, masks: bool | Literal["auto"] = "auto") -> Catalog:
    """Seven classes of pigmented lesions; images of one lesion form a group.

    Args:
        root: the folder that holds the metadata table, or its parent where only one such folder lies.
        masks: whether the lesion masks are needed (true), left alone (false), or used when their folder is there.

    Raises:
        PreceptorError: a missing table, column or folder, a label without its image, an image that lies in both
            folders, masks that are wanted and missing, an unknown or missing diagnosis, a repeated id.
    """
    metadata = find_table(root, _TABLES, "HAM10000", _LAYOUT)
    root = metadata.parent
    table = read_csv(metadata, ("lesion_id", "image_id", "dx"))
    for column in ("lesion_id", "image_id", "dx"):
        refuse_missing(metadata, table, column)
    refuse_unknown(metadata, table, "dx", CLASSES)
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
    notes = count_notes(table["dx"], PUBLISHED)
    if extra := len(images.keys() - set(ids)):
        notes.append(f"{extra:,} image files that {metadata.name} does not name are not used")
    described = attributes_of(table, ATTRIBUTES)
    mask_paths = _mask_paths(root, ids, masks)
    if not mask_paths:
        notes.append("lesion masks are left alone" if masks is False else f"no lesion masks ({_MASKS}/ is not there)")
    rows = pd.DataFrame(
        {
            "id": ids,
            "image": ids.map(images),
            "label": table["dx"],
            "group": table["lesion_id"],
            "mask": mask_paths or "",
        }
    ).join(described)
    return Catalog(
        "ham10000",
        root,
        rows,
        CLASSES,
        tuple(notes),
        mask_classes=MASK_CLASSES,
        attribute_names=tuple(described.columns),
    )


def _image_paths(root: Path) -> dict[str, str]:
    """Image id -> path below root. Which image lies in which part differs between copies, so both are read."""
    paths: dict[str, str] = {}
    for part in _PARTS:
        folder = image_folder(root, part)
        for name in files_in(root / folder, ".jpg", _LAYOUT):
            image_id = name.removesuffix(".jpg")
            if image_id in paths:
                raise PreceptorError(
                    f"{root}: {name} lies in both {_PARTS[0]}/ and {_PARTS[1]}/",
                    expected="each image in one of the two folders",
                    remedy="remove one of the two files",
                )
            paths[image_id] = f"{folder}/{name}"
    return paths


def _mask_paths(root: Path, ids: pd.Series, wanted: bool | Literal["auto"]) -> list[str]:
    folder = image_folder(root, _MASKS)
    if wanted is False or (wanted == "auto" and not (root / folder).exists()):
        return []
    files = set(files_in(root / folder, ".png", _LAYOUT))
    names = [f"{image_id}_segmentation.png" for image_id in ids]
    absent = [name for name in names if name not in files]
    if absent:
        raise PreceptorError(
            f"{root / folder} lacks {len(absent)} of {len(names)} masks: {some_of(absent)}",
            expected="a mask for every image",
            remedy="unpack the masks again, or work without them: data.masks=false",
        )
    return [f"{folder}/{name}" for name in names]
