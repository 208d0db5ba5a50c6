"""BreakHis: microscopy of breast tumour biopsies at four magnifications.

Spanhol et al., "A Dataset for Breast Cancer Histopathological Image Classification", IEEE Transactions on Biomedical
Engineering 63 (2016).
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.file_finder import walk_files
from preceptor.data.layout import count_notes, no_such_layout
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError, some_of

PUBLISHED = {"benign": 2480, "malignant": 5429}
TYPES = {
    "A": "adenosis", "F": "fibroadenoma", "PT": "phyllodes tumour", "TA": "tubular adenoma", "DC": "ductal carcinoma",
    "LC": "lobular carcinoma", "MC": "mucinous carcinoma", "PC": "papillary carcinoma",
}  # fmt: skip
_SLIDE = re.compile(
    r"SOB_(?P<side>[BM])_(?P<type>[A-Z]+)-(?P<patient>[0-9]+-[0-9A-Z]+)-(?P<zoom>40|100|200|400)-(?P<number>[0-9]+)"
)
_LAYOUT = "BreaKHis_v1/histology_slides/breast/{benign,malignant}/SOB/<type>/SOB_B_A_14-22549AB/100X/SOB_B_A-14-….png"


@reader(
    "breakhis",
    layout=_LAYOUT,
    about=About(
        "microscopy of breast tumours, benign or malignant, eight types",
        images="7,909",
        groups="patient",
        attributes=("magnification", "type"),
        licence="CC BY 4.0",
    ),
)
def breakhis(
    root: Path,
    magnification: Literal["all", "40", "100", "200", "400"] = "all",
    classes: Literal["two", "eight"] = "two",
) -> Catalog:
    """Benign or malignant, or eight types of tumour; images of one patient form a group.

    Args:
        root: any folder above the images.
        magnification: which images to take.
        classes: how fine the labels are.

    Raises:
        PreceptorError: no images, a file of another name than the publisher's, an unknown type.
    """
    images = [path for path in walk_files(root) if path.lower().endswith(".png") and "SOB" in PurePosixPath(path).name]
    if not images:
        raise no_such_layout(root, "SOB_….png", "BreakHis", _LAYOUT)
    matches = [_SLIDE.fullmatch(PurePosixPath(path).stem) for path in images]
    strange = [path for path, match in zip(images, matches, strict=True) if not match or match["type"] not in TYPES]
    if strange:
        raise PreceptorError(
            f"{root}: {len(strange):,} images of another name than the publisher's: {some_of(strange, 3)}",
            expected="SOB_<B or M>_<type>-<patient>-<magnification>-<number>.png",
        )
    fields = [match for match in matches if match]
    rows = pd.DataFrame(
        {
            "id": [match[0] for match in fields],
            "image": images,
            "group": [match["patient"] for match in fields],
            "magnification": [match["zoom"] for match in fields],
            "type": [TYPES[match["type"]] for match in fields],
            "side": ["benign" if match["side"] == "B" else "malignant" for match in fields],
        }
    )
    notes = count_notes(rows["side"], PUBLISHED)
    rows["label"] = rows["side"] if classes == "two" else rows["type"]
    if magnification != "all":
        rows = rows[rows["magnification"] == magnification]
        notes.append(f"images at a magnification of {magnification} alone")
    names = tuple(PUBLISHED) if classes == "two" else tuple(TYPES.values())
    return Catalog("breakhis", root, rows, names, tuple(notes), attribute_names=("magnification", "type"))
