"""MedMNIST v2 and MedMNIST+ as published: one NumPy archive a data set and size, with the official split.

Yang et al., "MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical image classification",
Scientific Data 10:41 (2023), doi:10.1038/s41597-022-01721-8.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from preceptor.data.catalog import Catalog
from preceptor.data.readers import About, reader
from preceptor.data.sources import array_of, keys_of, member, shape_of
from preceptor.utils.errors import PreceptorError, did_you_mean, some_of

#: Two-dimensional data sets -> what their labels 0, 1, … mean.
CLASSES: dict[str, tuple[str, ...]] = {
    "pathmnist": (
        "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
        "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
    ),
    "chestmnist": (
        "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
        "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia",
    ),
    "dermamnist": (
        "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions",
        "dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions",
    ),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": ("no DR", "mild", "moderate", "severe", "proliferative"),
    "breastmnist": ("malignant", "normal or benign"),
    "bloodmnist": (
        "basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte", "monocyte", "neutrophil",
        "platelet",
    ),
    "tissuemnist": (
        "collecting duct, connecting tubule", "distal convoluted tubule", "glomerular endothelial cells",
        "interstitial endothelial cells", "leukocytes", "podocytes", "proximal tubule segments",
        "thick ascending limb",
    ),
    **dict.fromkeys(
        ("organamnist", "organcmnist", "organsmnist"),
        ("bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left",
         "lung-right", "pancreas", "spleen"),
    ),
}  # fmt: skip
_SEVERAL = ("chestmnist",)
_PARTS = {"train": "train", "val": "validation", "test": "test"}
_LAYOUT = "<flag>.npz (28 pixels) or <flag>_<size>.npz, such as dermamnist_224.npz"


@reader(
    "medmnist",
    layout=_LAYOUT,
    reads_file=True,
    about=About(
        "twelve benchmarks of small images: pathology, chest, skin, retina, blood, organs, …",
        tasks=("classification", "multi_label", "ordinal"),
        images="780 to 236,386",
        licence="CC BY 4.0 (dermamnist CC BY-NC 4.0)",
        parts=True,
    ),
)
def medmnist(root: Path, flag: str = "", size: int = 28) -> Catalog:
    """One two-dimensional data set of MedMNIST with its official split.

    The archive names no patients or lesions, so the official split of dermamnist has images of one lesion on both
    sides. An archive is unpacked into memory while its images are decoded into the cache.

    Args:
        root: the archive, or the folder with the archives.
        flag: the data set, such as ``dermamnist``; may be left out where the folder holds one.
        size: side of the images: 28, 64, 128 or 224.

    Raises:
        PreceptorError: no such archive, or several; one of volumes; a key that is missing; labels out of range.
    """
    path = root if root.is_file() else _archive(root, flag, size)
    name = path.stem.split("_")[0]
    if name not in CLASSES:
        raise PreceptorError(
            f"{path}: {name!r} is no two-dimensional data set of MedMNIST.{did_you_mean(name, CLASSES)}",
            expected=f"one of {', '.join(CLASSES)}",
        )
    _refuse_missing_keys(path)
    several = CLASSES[name] if name in _SEVERAL else ()
    frames = [_part(path, part, CLASSES[name], bool(several)) for part in _PARTS]
    rows = pd.concat(frames, ignore_index=True)
    notes = ("no groups known: the archive does not tell which images show one patient or lesion",)
    return Catalog("medmnist", path.parent, rows, CLASSES[name], notes, label_names=several)


def _archive(root: Path, flag: str, size: int) -> Path:
    ending = "" if size == 28 else f"_{size}"
    names = [f"{name}{ending}.npz" for name in ([flag] if flag else CLASSES)]
    archives = [root / name for name in names if (root / name).is_file()]
    if len(archives) == 1:
        return archives[0]
    there = sorted(path.name for path in root.glob("*.npz"))
    raise PreceptorError(
        f"{root} holds {'several archives' if archives else f'no {names[0]}' if flag else 'no archive of this size'}; "
        f"it holds {some_of(there, 5) or 'no .npz files'}",
        expected=_LAYOUT,
        remedy="name the data set and its size: data.flag=dermamnist data.size=224",
    )


def _refuse_missing_keys(path: Path) -> None:
    keys = keys_of(path)
    missing = [key for part in _PARTS for key in (f"{part}_images", f"{part}_labels") if key not in keys]
    if missing:
        raise PreceptorError(f"{path} holds no {missing[0]!r}", expected="images and labels of train, val and test")
    shape = shape_of(path, "test_images")
    if len(shape) == 4 and shape[-1] != 3:
        raise PreceptorError(f"{path} holds volumes of {shape[1]} slices", expected="a two-dimensional data set")


def _part(path: Path, part: str, classes: tuple[str, ...], several: bool) -> pd.DataFrame:
    labels = array_of(path, f"{part}_labels")
    labels = labels.reshape(len(labels), -1)
    ids = [f"{part}-{number:06d}" for number in range(len(labels))]
    rows = pd.DataFrame({"id": ids, "group": ids, "part": _PARTS[part]})
    rows["image"] = [member(path.name, f"{part}_images", number) for number in range(len(labels))]
    names = np.array(classes)
    expected = len(classes) if several else 1
    if labels.shape[1] != expected or labels.min() < 0 or labels.max() >= (2 if several else len(classes)):
        raise PreceptorError(
            f"{path}: {part}_labels of shape {labels.shape} with values {labels.min()} to {labels.max()}",
            expected=f"{expected} label per image" if not several else f"{expected} labels of 0 or 1 per image",
        )
    if not several:
        return rows.assign(label=names[labels[:, 0]])
    rows["label"] = ["|".join(names[row == 1]) for row in labels]
    return rows.join(pd.DataFrame(labels.astype(np.float32), columns=list(classes)))
