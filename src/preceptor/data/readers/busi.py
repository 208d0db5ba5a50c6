"""BUSI: breast ultrasound with masks of the lesions; benign, malignant or normal.

Al-Dhabyani et al., "Dataset of breast ultrasound images", Data in Brief 28:104863 (2020).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.layout import count_notes, files_in, no_such_layout
from preceptor.data.mask_pairs import pair_siblings
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError, some_of

PUBLISHED = {"benign": 437, "malignant": 210, "normal": 133}
CLASSES = tuple(PUBLISHED)
_LAYOUT = "Dataset_BUSI_with_GT/ with benign/, malignant/, normal/: <name>.png and <name>_mask.png (and _mask_1.png)"


@reader(
    "busi",
    layout=_LAYOUT,
    about=About(
        "breast ultrasound; benign, malignant, normal",
        tasks=("classification", "segmentation"),
        images="780",
        licence="CC BY 4.0",
    ),
)
def busi(root: Path) -> Catalog:
    """Three classes with lesion masks; several masks of one image are united.

    The publisher's table of patients does not exist, and many images are near-duplicates of others
    (``preceptor data check --duplicates`` lists them).

    Args:
        root: ``Dataset_BUSI_with_GT``, or the folder that holds it.

    Raises:
        PreceptorError: a missing folder, an image without its mask.
    """
    tops = [top for top in (root, root / "Dataset_BUSI_with_GT") if (top / CLASSES[0]).is_dir()]
    if not tops:
        raise no_such_layout(root, "benign/", "BUSI", _LAYOUT)
    files = [f"{name}/{file}" for name in CLASSES for file in files_in(tops[0] / name, ".png", _LAYOUT)]
    masks, _ = pair_siblings(files)
    images = [file for file in files if file not in masks.taken]
    absent = [image for image in images if image not in masks.of]
    if absent:
        raise PreceptorError(
            f"{tops[0]}: {len(absent):,} images have no mask: {some_of(absent)}",
            expected="<name>_mask.png beside each <name>.png",
            remedy="unpack the archive again",
        )
    ids = [image.partition("/")[2].removesuffix(".png") for image in images]
    rows = pd.DataFrame({"id": ids, "image": images, "group": ids, "mask": [masks.of[image] for image in images]})
    rows["label"] = [image.partition("/")[0] for image in images]
    notes = (*count_notes(rows["label"], PUBLISHED), "no groups known: images of one patient are not told apart")
    return Catalog("busi", tops[0], rows, CLASSES, notes, mask_classes=("background", "lesion"))
