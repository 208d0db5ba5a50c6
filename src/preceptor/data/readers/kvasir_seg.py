"""Kvasir-SEG: polyps in colonoscopy, with masks.

Jha et al., "Kvasir-SEG: A Segmented Polyp Dataset", MultiMedia Modeling 2020.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from preceptor.data.catalog import UNLABELLED, Catalog
from preceptor.data.layout import files_in, no_such_layout
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError, some_of

IMAGES = 1_000
_LAYOUT = "images/<name>.jpg and masks/<name>.jpg"


@reader(
    "kvasir_seg",
    layout=_LAYOUT,
    about=About(
        "polyps in colonoscopy", tasks=("segmentation",), images=f"{IMAGES:,}", licence="research and education"
    ),
)
def kvasir_seg(root: Path) -> Catalog:
    """Polyps with masks; the masks are JPEG files, whose grey borders are cut at half.

    Args:
        root: the folder that holds ``images/`` and ``masks/``, or its parent (``Kvasir-SEG/``).

    Raises:
        PreceptorError: a missing folder, an image without its mask or the other way round.
    """
    tops = [top for top in (root, root / "Kvasir-SEG") if (top / "images").is_dir() and (top / "masks").is_dir()]
    if not tops:
        raise no_such_layout(root, "images/ and masks/", "Kvasir-SEG", _LAYOUT)
    images, masks = (files_in(tops[0] / name, ".jpg", _LAYOUT) for name in ("images", "masks"))
    lonely = sorted(set(images) ^ set(masks))
    if lonely:
        raise PreceptorError(
            f"{tops[0]}: {len(lonely):,} files without their counterpart: {some_of(lonely)}",
            expected="the same names in images/ and masks/",
            remedy="unpack the archive again",
        )
    ids = [name.removesuffix(".jpg") for name in images]
    rows = pd.DataFrame({"id": ids, "group": ids, "label": UNLABELLED})
    rows["image"], rows["mask"] = [f"images/{name}" for name in images], [f"masks/{name}" for name in images]
    notes = ["no labels: for segmentation only", "no groups known: frames of one patient are not told apart"]
    if len(rows) != IMAGES:
        notes.insert(0, f"this copy has {len(rows):,} images; {IMAGES:,} are published")
    return Catalog("kvasir_seg", tops[0], rows, (UNLABELLED,), tuple(notes), mask_classes=("background", "polyp"))
