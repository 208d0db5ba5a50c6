"""PatchCamelyon (PCam) as published: HDF5 files of tiles and labels, with the official split.

Veeling et al., "Rotation Equivariant CNNs for Digital Pathology", MICCAI 2018; tiles of CAMELYON16.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.csvfile import read_csv
from preceptor.data.layout import no_such_layout
from preceptor.data.readers import About, reader
from preceptor.data.sources import array_of, member, shape_of
from preceptor.utils.errors import PreceptorError

CLASSES = ("no tumour", "tumour")
_FILE = "camelyonpatch_level_2_split_{part}_{kind}"
_PARTS = {"train": "train", "valid": "validation", "test": "test"}
_LAYOUT = f"{_FILE.format(part='train', kind='x')}.h5, …_y.h5 and, for the slides, …_meta.csv (also of valid and test)"


@reader(
    "pcam",
    layout=_LAYOUT,
    about=About(
        "tiles of lymph nodes, with or without tumour in the centre",
        images="327,680",
        groups="slide",
        licence="CC0",
        parts=True,
    ),
)
def pcam(root: Path) -> Catalog:
    """Tiles of 96 pixels with the official split; the tiles of one slide form a group.

    Args:
        root: the folder with the HDF5 files (unpacked: ``gunzip *.gz``).

    Raises:
        PreceptorError: a missing file, other numbers of tiles than labels or slides, h5py is not installed.
    """
    if not any((root / f"{_FILE.format(part=part, kind='x')}.h5").is_file() for part in _PARTS):
        raise no_such_layout(root, f"{_FILE.format(part='train', kind='x')}.h5", "PatchCamelyon", _LAYOUT)
    rows = pd.concat([_part(root, part) for part in _PARTS], ignore_index=True)
    without = int((rows["group"] == rows["id"]).sum())
    notes = [f"{without:,} tiles without a known slide (…_meta.csv): each is taken as unrelated"] if without else []
    return Catalog("pcam", root, rows, CLASSES, tuple(notes))


def _part(root: Path, part: str) -> pd.DataFrame:
    images = f"{_FILE.format(part=part, kind='x')}.h5"
    labels = array_of(root / f"{_FILE.format(part=part, kind='y')}.h5", "y").reshape(-1)
    tiles = shape_of(root / images, "x")[0]
    values = sorted(set(labels.tolist()))
    if tiles != len(labels) or not set(values) <= {0, 1}:
        raise PreceptorError(
            f"{root / images}: {tiles:,} tiles, {len(labels):,} labels with the values {values[:5]}",
            expected="a label 0 or 1 for each tile",
            remedy="fetch both files again",
        )
    ids = [f"{part}-{number:06d}" for number in range(tiles)]
    return pd.DataFrame(
        {
            "id": ids,
            "image": [member(images, "x", number) for number in range(tiles)],
            "label": [CLASSES[int(label)] for label in labels],
            "group": _slides(root / f"{_FILE.format(part=part, kind='meta')}.csv", tiles) or ids,
            "part": _PARTS[part],
        }
    )


def _slides(path: Path, tiles: int) -> list[str]:
    """The slide of each tile; nothing where the table is not there."""
    if not path.is_file():
        return []
    slides = read_csv(path, ("wsi",))["wsi"].tolist()
    if len(slides) != tiles:
        raise PreceptorError(f"{path} has {len(slides):,} rows for {tiles:,} tiles", expected="one row for each tile")
    return slides
