"""Small made-up copies of published data sets, in their publishers' layouts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image


def photo(path: Path, seed: int = 0, mode: str = "RGB", size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_noise(seed, size)).convert(mode).save(path)


def mask(path: Path, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(size[::-1], np.uint8)
    pixels[2:4, 2:5] = 255
    Image.fromarray(pixels).save(path)


def table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]) + "\n")


def medmnist(root: Path, flag: str = "dermamnist", labels: int = 7, size: int = 28, grey: bool = False) -> None:
    random = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 14), ("val", 7), ("test", 7)):
        shape = (count, size, size) if grey else (count, size, size, 3)
        arrays[f"{part}_images"] = random.integers(0, 255, shape, dtype=np.uint8)
        numbers = (
            (np.arange(count) % labels)[:, None] if flag != "chestmnist" else random.integers(0, 2, (count, labels))
        )
        arrays[f"{part}_labels"] = numbers.astype(np.uint8)
    np.savez_compressed(root / (f"{flag}.npz" if size == 28 else f"{flag}_{size}.npz"), **arrays)


def pcam(root: Path) -> None:
    import h5py

    random = np.random.default_rng(0)
    for part, count in (("train", 8), ("valid", 4), ("test", 4)):
        stem = f"camelyonpatch_level_2_split_{part}"
        with h5py.File(root / f"{stem}_x.h5", "w") as file:
            file["x"] = random.integers(0, 255, (count, 96, 96, 3), dtype=np.uint8)
        with h5py.File(root / f"{stem}_y.h5", "w") as file:
            file["y"] = (np.arange(count) % 2).reshape(-1, 1, 1, 1).astype(np.uint8)
        rows = [(n, 0, 0, True, True, f"{part}_slide_{n // 2}") for n in range(count)]
        table(root / f"{stem}_meta.csv", ("", "coord_y", "coord_x", "tumor_patch", "center_tumor_patch", "wsi"), rows)


def isic2018_masks(root: Path) -> None:
    for part, count in (("Training", 4), ("Validation", 2)):
        for number in range(count):
            name = f"ISIC_{part}{number}"
            photo(root / f"ISIC2018_Task1-2_{part}_Input" / f"{name}.jpg", number)
            mask(root / f"ISIC2018_Task1_{part}_GroundTruth" / f"{name}_segmentation.png")
        (root / f"ISIC2018_Task1-2_{part}_Input" / "LICENSE.txt").write_text("x")


def isic2018_classes(root: Path) -> None:
    names = [f"ISIC_{number:07d}" for number in range(14)]
    for number, name in enumerate(names):
        photo(root / "ISIC2018_Task3_Training_Input" / f"{name}.jpg", number)
    stem = "ISIC2018_Task3_Training_GroundTruth"
    rows = [(name, *[float(number % 7 == column) for column in range(7)]) for number, name in enumerate(names)]
    table(root / stem / f"{stem}.csv", ("image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"), rows)
    lesions = [(name, f"HAM_{number % 7}", "histopathology") for number, name in enumerate(names)]
    table(
        root / "ISIC2018_Task3_Training_LesionGroupings.csv", ("image", "lesion_id", "diagnosis_confirm_type"), lesions
    )


def isic2020(root: Path) -> None:
    rows = []
    for number in range(8):
        photo(root / "train" / f"ISIC_{number}.jpg", number)
        rows.append((f"ISIC_{number}", f"IP_{number // 2}", "", "male", 45, "torso", "unknown", "benign", number // 6))
    header = (
        "image_name", "patient_id", "lesion_id", "sex", "age_approx", "anatom_site_general_challenge", "diagnosis",
        "benign_malignant", "target",
    )  # fmt: skip
    table(root / "ISIC_2020_Training_GroundTruth_v2.csv", header, rows)
    table(
        root / "ISIC_2020_Training_Duplicates.csv", ("image_name_1", "image_name_2"), [("ISIC_0", "ISIC_7"), ("x", "y")]
    )


def isic2024(root: Path, container: bool = True) -> None:
    import h5py

    rows, images = [], {}
    for number in range(6):
        name = f"ISIC_{number:07d}"
        rows.append((name, number // 5, f"IP_{number // 2}", "", 60.0, "female", "head/neck", 3.1, "UQ", "3D: XP"))
        buffer = BytesIO()
        Image.fromarray(_noise(number, (9, 9))).save(buffer, "JPEG")
        images[name] = buffer.getvalue()
    header = (
        "isic_id", "target", "patient_id", "lesion_id", "age_approx", "sex", "anatom_site_general",
        "clin_size_long_diam_mm", "attribution", "tbp_tile_type",
    )  # fmt: skip
    table(root / "train-metadata.csv", header, rows)
    if container:
        with h5py.File(root / "train-image.hdf5", "w") as file:
            for name, content in images.items():
                file[name] = np.void(content)
    for name, content in images.items() if not container else ():
        (root / "train-image" / "image").mkdir(parents=True, exist_ok=True)
        (root / "train-image" / "image" / f"{name}.jpg").write_bytes(content)


def pad_ufes_20(root: Path) -> None:
    rows = []
    for number, label in enumerate(("ACK", "BCC", "MEL", "NEV", "SCC", "SEK") * 2):
        name = f"PAT_{number // 2}_{number}.png"
        part = f"imgs_part_{number % 3 + 1}"
        photo(root / part / part / name, number)
        rows.append((f"PAT_{number // 2}", number, 55, "FEMALE", 3.0 if number else "", "ARM", label, name, "True"))
    header = ("patient_id", "lesion_id", "age", "gender", "fitspatrick", "region", "diagnostic", "img_id", "biopsed")
    table(root / "metadata.csv", header, rows)


def chestxray14(root: Path) -> None:
    findings = ("No Finding", "Mass|Effusion", "Mass", "Hernia")
    rows, lists = [], {"train_val_list.txt": [], "test_list.txt": []}
    for number in range(8):
        name = f"{number:08d}_000.png"
        photo(root / f"images_{number % 2 + 1:03d}" / "images" / name, number, "L")
        rows.append((name, findings[number % 4], 0, number // 2, 58, "M", "PA", 2682, 2749, 0.143, 0.143))
        lists["test_list.txt" if number >= 6 else "train_val_list.txt"].append(name)
    header = (
        "Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position",
        "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]",
    )  # fmt: skip
    table(root / "Data_Entry_2017_v2020.csv", header, rows)
    for name, images in lists.items():
        (root / name).write_text("\n".join(images))


def chexpert(root: Path) -> None:
    labels = (
        "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
        "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
        "Support Devices",
    )  # fmt: skip
    values = ("1.0", "-1.0", "0.0", "", *[""] * 10)
    for part, count in (("train", 3), ("valid", 1)):
        rows = []
        for number in range(count):
            for view in ("view1_frontal", "view2_lateral"):
                path = f"{part}/patient{number:05d}/study1/{view}.jpg"
                photo(root / path, number, "L")
                side = ("Frontal", "AP") if "frontal" in view else ("Lateral", "")
                rows.append((f"CheXpert-v1.0-small/{path}", "Female", 68, *side, *values))
        table(root / f"{part}.csv", ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *labels), rows)


def fitzpatrick17k(root: Path) -> None:
    rows = []
    for number in range(6):
        name = f"{number:032x}"
        if number:
            photo(root / "images" / f"{name}.jpg", number)
        kind = ("benign", "malignant", "non-neoplastic")[number % 3]
        rows.append((name, number - 1 or -1, 3, f"condition {number % 4}", f"{kind} x", kind, "", "http://x", "x.jpg"))
    header = (
        "md5hash", "fitzpatrick_scale", "fitzpatrick_centaur", "label", "nine_partition_label",
        "three_partition_label", "qc", "url", "url_alphanum",
    )  # fmt: skip
    table(root / "fitzpatrick17k.csv", header, rows)


def ddi(root: Path, truth: str = "malignant") -> None:
    rows = []
    for number in range(4):
        photo(root / "images" / f"{number:06d}.png", number)
        rows.append((number, f"{number:06d}.png", (12, 34, 56)[number % 3], str(number % 2 == 1), "melanoma"))
    table(root / "ddi_metadata.csv", ("", "DDI_file", "skin_tone", truth, "disease"), rows)


def derm7pt(root: Path) -> None:
    diagnoses = ("basal cell carcinoma", "blue nevus", "melanoma (in situ)", "lentigo", "seborrheic keratosis")
    rows = []
    for number in range(15):
        for kind in ("derm", "clinic"):
            photo(root / "release_v0" / "images" / "NEL" / f"{kind}{number:03d}.jpg", 100 * (kind == "derm") + number)
        files = (f"NEL/derm{number:03d}.jpg", f"NEL/clinic{number:03d}.jpg")
        rows.append((number + 1, diagnoses[number % 5], "abdomen", "female", *files))
    meta = root / "release_v0" / "meta"
    table(meta / "meta.csv", ("case_num", "diagnosis", "location", "sex", "derm", "clinic"), rows)
    for name, numbers in (("train", range(5)), ("valid", range(5, 10)), ("test", range(10, 15))):
        table(meta / f"{name}_indexes.csv", ("indexes",), [(number,) for number in numbers])


def busi(root: Path) -> None:
    for name in ("benign", "malignant", "normal"):
        for number in (1, 2):
            photo(root / "Dataset_BUSI_with_GT" / name / f"{name} ({number}).png", number)
            mask(root / "Dataset_BUSI_with_GT" / name / f"{name} ({number})_mask.png")
    mask(root / "Dataset_BUSI_with_GT" / "benign" / "benign (1)_mask_1.png")


def breakhis(root: Path) -> None:
    top = root / "BreaKHis_v1" / "histology_slides" / "breast"
    for side, kind, name, patient in (
        ("B", "A", "adenosis", "14-22549AB"),
        ("B", "PT", "phyllodes_tumor", "14-21998CD"),
        ("M", "DC", "ductal_carcinoma", "14-2523"),
    ):
        for zoom in (40, 400):
            stem = f"SOB_{side}_{kind}"
            folder = top / {"B": "benign", "M": "malignant"}[side] / "SOB" / name / f"{stem}_{patient}" / f"{zoom}X"
            photo(folder / f"{stem}-{patient}-{zoom}-001.png", zoom)


def kvasir_seg(root: Path) -> None:
    for number in range(3):
        photo(root / "Kvasir-SEG" / "images" / f"cju{number}.jpg", number, size=(40, 30))
        mask(root / "Kvasir-SEG" / "masks" / f"cju{number}.jpg", size=(40, 30))
    (root / "Kvasir-SEG" / "kavsir_bboxes.json").write_text("{}")


def _noise(seed: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
