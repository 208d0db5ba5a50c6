"""LGG MRI segmentation as Kaggle hands it out (``kaggle_3m``): slices of brain MRI with masks of FLAIR abnormality.

Buda, Saha, Mazurowski, "Association of genomic subtypes of lower-grade gliomas with shape features automatically
extracted by a deep learning algorithm", Computers in Biology and Medicine 109 (2019); images of TCGA-LGG, The Cancer
Imaging Archive. The channels of a slice are pre-contrast, FLAIR and post-contrast.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.failures import grouped_by_cause
from preceptor.data.layout import no_such_layout
from preceptor.data.litter import is_litter
from preceptor.data.mask_images import read_mask
from preceptor.data.readers import About, reader
from preceptor.utils.errors import PreceptorError, some_of

#: Whether a slice shows tumour, by its mask; and what the values of a mask mean.
CLASSES = ("no tumour", "tumour")
MASK_CLASSES = ("background", "tumour")
SLICES, PATIENTS = 3_929, 110
_LAYOUT = "a folder TCGA_…/ for each patient with TCGA_…_<slice>.tif and TCGA_…_<slice>_mask.tif"
_PATIENT = re.compile(r"(TCGA_[A-Z0-9]+_[A-Z0-9]+)_[0-9]+")
_SLICE = re.compile(r"(?P<scan>TCGA_[A-Z0-9]+_[A-Z0-9]+_[0-9]+)_(?P<number>[0-9]+)(?P<mask>_mask)?\.tif")


@reader(
    "lgg",
    layout=_LAYOUT,
    about=About(
        "brain MRI (pre-contrast, FLAIR, post-contrast) of lower-grade gliomas",
        tasks=("segmentation", "classification"),
        images="3,929",
        groups="patient",
        licence="CC BY-NC-SA 4.0",
    ),
)
def lgg(root: Path) -> Catalog:
    """Slices with tumour masks; a slice is labelled by whether its mask is empty; patients are groups.

    All masks are read for the labels.

    Args:
        root: ``kaggle_3m``, or the folder that holds it.

    Raises:
        PreceptorError: no patients' folders, a slice without its mask or the other way round, an image under another
            name than expected, masks that cannot be read (all of them are named).
    """
    root = _patients_root(root)
    slices: dict[str, str] = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        slices |= _slices(root, folder)
    ids = list(slices)
    masks = [path.removesuffix(".tif") + "_mask.tif" for path in slices.values()]
    groups = [match[1] for match in map(_PATIENT.match, ids) if match]
    labels = [CLASSES[tumour] for tumour in _with_tumour(root, masks)]
    table = pd.DataFrame({"id": ids, "image": slices.values(), "label": labels, "group": groups, "mask": masks})
    patients = table["group"].nunique()
    notes = ["labels say whether the mask of a slice marks any tumour"]
    if (len(table), patients) != (SLICES, PATIENTS):
        notes.insert(
            0,
            f"this copy has {len(table):,} of the {SLICES:,} published slices, {patients} of the {PATIENTS} patients",
        )
    return Catalog("lgg", root, table, CLASSES, tuple(notes), mask_classes=MASK_CLASSES)


def _patients_root(root: Path) -> Path:
    below = [path for path in sorted(root.iterdir()) if path.is_dir() and not is_litter(path.name)]
    for top in (root, root / "lgg-mri-segmentation", *below):
        for folder in (top, top / "kaggle_3m"):
            if folder.is_dir() and any(_PATIENT.fullmatch(path.name) for path in folder.iterdir() if path.is_dir()):
                return folder
    raise no_such_layout(root, "kaggle_3m/ and no folders TCGA_…/", "LGG MRI segmentation", _LAYOUT)


def _slices(root: Path, folder: Path) -> dict[str, str]:
    """Slice id -> path below ``root``, of the images in one folder that all have their masks."""
    files = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in (".tif", ".tiff"))
    matches = {name: _SLICE.fullmatch(name) for name in files if not name.startswith(".")}
    strange = [name for name, match in matches.items() if match is None or match["scan"] != folder.name]
    if strange:
        raise PreceptorError(
            f"{folder} holds files that are no slices of it: {some_of(strange)}",
            expected=f"{folder.name}_<slice>.tif and {folder.name}_<slice>_mask.tif"
            if _PATIENT.fullmatch(folder.name)
            else _LAYOUT,
            remedy="move them out of the folder",
        )
    images = {name for name, match in matches.items() if match and not match["mask"]}
    masks = {name for name, match in matches.items() if match and match["mask"]}
    lonely = sorted(name for name in images if name.replace(".tif", "_mask.tif") not in masks)
    lonely += sorted(name for name in masks if name.replace("_mask.tif", ".tif") not in images)
    if lonely:
        raise PreceptorError(
            f"{folder}: {some_of(lonely)} without the {'mask' if lonely[0] in images else 'slice'} that belongs to it",
            expected="both <slice>.tif and <slice>_mask.tif of every slice",
            remedy="unpack the archive again, or remove what has no counterpart",
        )
    return {name.removesuffix(".tif"): f"{folder.relative_to(root)}/{name}" for name in sorted(images)}


def _with_tumour(root: Path, masks: list[str]) -> list[bool]:
    def marks_tumour(mask: str) -> bool | str:
        try:
            return bool(read_mask(root / mask).any())
        except PreceptorError as error:
            return error.what  # a kept exception would keep the decoded mask alive

    with ThreadPoolExecutor() as pool:  # decoding lets go of the interpreter
        outcomes = dict(zip(masks, pool.map(marks_tumour, masks), strict=True))
    broken = {mask: outcome for mask, outcome in outcomes.items() if isinstance(outcome, str)}
    if broken:
        raise PreceptorError(
            "\n".join(
                [
                    f"lgg: {len(broken):,} of {len(masks):,} masks cannot be read:",
                    *(f"    {line}" for line in grouped_by_cause(broken)),
                ]
            ),
            expected="masks in 8-bit grey with the values 0 and 255",
            remedy="unpack them again, or remove these slices with their masks",
        )
    return [bool(outcome) for outcome in outcomes.values()]
