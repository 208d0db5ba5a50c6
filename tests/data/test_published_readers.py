"""Readers of published data sets: small copies of their layouts, what is wrong with bad copies, and the real copies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from preceptor.data.catalog import Catalog
from preceptor.data.layout import count_notes
from preceptor.data.readers import READERS, read
from preceptor.utils.errors import PreceptorError

ISIC_COLUMNS = "MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"
SCAN = "TCGA_AB_12C4_19970222"


def picture(path: Path, value: int = 90, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 6), (value,) * 3 if mode == "RGB" else value).save(path)


@pytest.fixture
def aptos(tmp_path: Path) -> Path:
    for number in range(6):
        picture(tmp_path / "train_images" / f"e{number}.png")
    rows = [f"e{number},{number % 5}" for number in range(6)]
    (tmp_path / "train.csv").write_text("\n".join(["id_code,diagnosis", *rows]))
    return tmp_path


@pytest.fixture
def isic(tmp_path: Path) -> Path:
    truth, metadata = [f"image,{ISIC_COLUMNS}"], ["image,age_approx,anatom_site_general,lesion_id,sex"]
    for number in range(8):
        image = f"ISIC_000000{number}" + "_downsampled" * (number == 0)
        picture(tmp_path / "ISIC_2019_Training_Input" / f"{image}.jpg")
        truth.append(image + "".join(f",{float(number == column)}" for column in range(9)))
        metadata.append(f"{image},55,,{'' if number == 0 else f'HAM_{number // 2}'},female")
    (tmp_path / "ISIC_2019_Training_GroundTruth.csv").write_text("\n".join(truth))
    (tmp_path / "ISIC_2019_Training_Metadata.csv").write_text("\n".join(metadata))
    return tmp_path


@pytest.fixture
def brains(tmp_path: Path) -> Path:
    for scan, slices in ((SCAN, 11), ("TCGA_XY_0001_20010101", 2)):
        for number in range(1, slices + 1):
            picture(tmp_path / "kaggle_3m" / scan / f"{scan}_{number}.tif")
            picture(tmp_path / "kaggle_3m" / scan / f"{scan}_{number}_mask.tif", 255 * (number == 2), "L")
    (tmp_path / "kaggle_3m" / "data.csv").touch()
    return tmp_path


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    for number in range(9):
        picture(tmp_path / "train" / f"{number}f.tif")
    rows = [f"{number}f,{int(number < 3)}" for number in range(9)]
    (tmp_path / "train_labels.csv").write_text("\n".join(["id,label", *rows]))
    return tmp_path


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return change


def test_aptos2019(aptos: Path) -> None:
    catalog = read("aptos2019", aptos)
    assert catalog.classes == ("no DR", "mild", "moderate", "severe", "proliferative")
    assert catalog.labels.tolist() == [0, 1, 2, 3, 4, 0]
    assert catalog.table.iloc[5].tolist() == ["e5", "train_images/e5.png", "no DR", "e5", ""]
    assert catalog.notes[0] == "this copy has 6 of the 3,662 published images"
    assert "a split may separate them" in catalog.notes[1]


def test_images_in_a_folder_within_the_folder(aptos: Path) -> None:
    (aptos / "train_images").rename(aptos / "inner")
    (aptos / "train_images").mkdir()
    (aptos / "inner").rename(aptos / "train_images" / "train_images")
    picture(aptos / "train_images" / "train_images" / "more.png")
    catalog = read("aptos2019", aptos)
    assert catalog.path(0).is_file()
    assert "1 image files that train.csv does not name are not used" in catalog.notes


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda root: (root / "train.csv").unlink(), r"holds no train\.csv; it holds train_images/\n.*id_code, diag"),
        (lambda root: shutil.rmtree(root / "train_images"), "train_images is missing"),
        (lambda root: (root / "train_images/e3.png").unlink(), "names 1 image without a file in .*: e3"),
        (edit("train.csv", "e4,4", "e4,5"), "unknown diagnosis '5' on line 6"),
        (edit("train.csv", "e4,4", "e4,"), "no 'diagnosis' on line 6"),
        (edit("train.csv", "diagnosis", "grade"), "no column 'diagnosis'"),
        (edit("train.csv", "e4", "e3"), "more than once: e3"),
    ],
)
def test_bad_copies_of_aptos2019(aptos: Path, damage: Callable[[Path], None], match: str) -> None:
    damage(aptos)
    with pytest.raises(PreceptorError, match=match):
        read("aptos2019", aptos)


def test_isic2019(isic: Path) -> None:
    catalog = read("isic2019", isic)
    assert catalog.classes == tuple(ISIC_COLUMNS.split(",")[:-1])
    assert catalog.counts() == dict.fromkeys(catalog.classes, 1)
    downsampled = catalog.table.iloc[0]
    assert downsampled["image"] == "ISIC_2019_Training_Input/ISIC_0000000_downsampled.jpg"
    assert catalog.table["group"].tolist()[:4] == ["ISIC_0000000_downsampled", "HAM_0", "HAM_1", "HAM_1"]
    assert catalog.notes[0] == "this copy has 8 of the 25,331 published images"
    assert catalog.notes[1].startswith("1 images have no lesion_id")


def test_isic2019_keeps_the_unknown_class_where_it_occurs(isic: Path) -> None:
    edit("ISIC_2019_Training_GroundTruth.csv", "7,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,0.0", "7,0,0,0,0,0,0,0,0,1")(isic)
    catalog = read("isic2019", isic)
    assert catalog.classes == tuple(ISIC_COLUMNS.split(","))
    assert catalog.counts()["UNK"] == 1


TRUTH, METADATA = "ISIC_2019_Training_GroundTruth.csv", "ISIC_2019_Training_Metadata.csv"


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda root: (root / TRUTH).unlink(), f"holds no {TRUTH}"),
        (lambda root: (root / METADATA).unlink(), f"{METADATA} does not exist"),
        (lambda root: (root / "ISIC_2019_Training_Input/ISIC_0000002.jpg").unlink(), "1 image without.*0000002"),
        (edit(TRUTH, "ISIC_0000001,0.0,1.0", "ISIC_0000001,1.0,1.0"), r"exactly one class for ISIC_0000001 \(line 3\)"),
        (edit(TRUTH, "ISIC_0000001,0.0,1.0", "ISIC_0000001,0.0,0.0"), "exactly one class for ISIC_0000001"),
        (edit(TRUTH, "ISIC_0000001,0.0,1.0", "ISIC_0000001,0.5,0.5"), "exactly one class for ISIC_0000001"),
        (edit(TRUTH, "ISIC_0000001,0.0,1.0", "ISIC_0000001,,1.0"), "exactly one class for ISIC_0000001"),
        (edit(TRUTH, "ISIC_0000001,0.0,1.0", "ISIC_0000001,no,1.0"), "exactly one class for ISIC_0000001"),
        (edit(TRUTH, ",UNK", ",UNKNOWN"), "no column 'UNK'. Did you mean 'UNKNOWN'"),
        (edit(METADATA, "ISIC_0000003,", "ISIC_0000009,"), "no row for 1 of the images: ISIC_0000003"),
        (edit(METADATA, "ISIC_0000003,", "ISIC_0000002,"), "more than once: ISIC_0000002"),
        (edit(METADATA, "lesion_id", "lesion"), "no column 'lesion_id'"),
    ],
)
def test_bad_copies_of_isic2019(isic: Path, damage: Callable[[Path], None], match: str) -> None:
    damage(isic)
    with pytest.raises(PreceptorError, match=match):
        read("isic2019", isic)


@pytest.mark.parametrize("below", ["", "kaggle_3m"])
def test_lgg(brains: Path, below: str) -> None:
    catalog = read("lgg", brains / below)
    assert catalog.classes == ("no tumour", "tumour")
    assert catalog.mask_classes == ("background", "tumour")
    assert catalog.has_masks
    assert catalog.counts() == {"no tumour": 11, "tumour": 2}
    assert catalog.table["id"].tolist()[:11] == [f"{SCAN}_{number}" for number in range(1, 12)]
    assert set(catalog.table["group"]) == {"TCGA_AB_12C4", "TCGA_XY_0001"}
    second = catalog.table.iloc[1].to_dict()
    assert second == {
        "id": f"{SCAN}_2",
        "image": f"{SCAN}/{SCAN}_2.tif",
        "label": "tumour",
        "group": "TCGA_AB_12C4",
        "mask": f"{SCAN}/{SCAN}_2_mask.tif",
    }
    assert catalog.notes[0] == "this copy has 13 of the 3,929 published slices, 2 of the 110 patients"


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda scan: (scan / f"{SCAN}_3_mask.tif").unlink(), f"{SCAN}_3.tif without the mask"),
        (lambda scan: (scan / f"{SCAN}_3.tif").unlink(), f"{SCAN}_3_mask.tif without the slice"),
        (
            lambda scan: (scan / f"{SCAN}_3_mask.tif").write_bytes(b""),
            f"1 of 13 masks .*\n.*{SCAN}_3_mask.tif is empty",
        ),
        (lambda scan: picture(scan / f"{SCAN}_3_mask.tif", 90), f"{SCAN}_3_mask.tif has the values 90"),
        (lambda scan: picture(scan / "TCGA_XY_0001_20010101_9.tif"), "no slices of it: TCGA_XY_0001_20010101_9.tif"),
        (lambda scan: picture(scan / f"{SCAN}_3_seg.tif"), f"no slices of it: {SCAN}_3_seg.tif"),
        (lambda scan: picture(scan.parent / "other" / "1.tif"), "no slices of it: 1.tif"),
        (
            lambda scan: shutil.move(scan.parent, scan.parents[1] / "x/y/z"),
            r"holds no kaggle_3m/ .*; it holds x/\n.*TCGA",
        ),
    ],
)
def test_bad_copies_of_lgg(brains: Path, damage: Callable[[Path], None], match: str) -> None:
    damage(brains / "kaggle_3m" / SCAN)
    with pytest.raises(PreceptorError, match=match):
        read("lgg", brains)


def test_histopathologic(tiles: Path) -> None:
    catalog = read("histopathologic", tiles)
    assert catalog.counts() == {"no tumour": 6, "tumour": 3}
    assert catalog.table.iloc[0].tolist() == ["0f", "train/0f.tif", "tumour", "0f", ""]
    assert catalog.notes[0] == "this copy has 9 of the 220,025 published images"
    assert "no groups known" in catalog.notes[-1]


def test_a_balanced_choice_of_tiles(tiles: Path) -> None:
    def chosen(count: int) -> set[str]:
        catalog = read("histopathologic", tiles, {"balanced": count})
        assert set(catalog.counts().values()) == {count // 2}
        assert any(note.startswith(f"a balanced choice of {count} of the 9 tiles") for note in catalog.notes)
        return set(catalog.table["id"])

    two, four = chosen(2), chosen(4)
    assert two < four < chosen(6)
    lines = (tiles / "train_labels.csv").read_text().split()
    (tiles / "train_labels.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    assert chosen(4) == four


@pytest.mark.parametrize(
    ("damage", "options", "match"),
    [
        (edit("train_labels.csv", "4f,0", "4f,2"), {}, "unknown label '2' on line 6"),
        (lambda root: (root / "train/4f.tif").unlink(), {}, "1 image without a file in .*: 4f"),
        (lambda root: (root / "train_labels.csv").unlink(), {}, r"holds no train_labels\.csv"),
        (lambda root: None, {"balanced": 8}, r"balanced=8: the smaller class has 3 tiles\n.*even number up to 6"),
        (lambda root: None, {"balanced": 3}, "balanced=3"),
        (lambda root: None, {"balanced": -2}, "balanced=-2 .*greater than or equal to 0"),
    ],
)
def test_bad_copies_of_histopathologic(
    tiles: Path, damage: Callable[[Path], None], options: dict[str, int], match: str
) -> None:
    damage(tiles)
    with pytest.raises(PreceptorError, match=match):
        read("histopathologic", tiles, options)


def test_counts_are_held_against_the_published_ones() -> None:
    def notes(*labels: str) -> list[str]:
        return count_notes(pd.Series(labels), {"a": 2, "b": 1})

    assert notes("a", "b", "a") == []
    assert notes("a") == ["this copy has 1 of the 3 published images"]
    assert notes("a", "b", "b") == ["classes of another size than published (in brackets): a 1 (2), b 2 (1)"]
    assert notes(*"aabb") == ["this copy has 4 images, more than the 3 published"]


def test_numbers_in_ids_are_ordered_by_their_value(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["p10_2", "p9_11", "p9_2", "p09_2", "p", "10", "9"], "image": "x.png", "label": "a"})
    catalog = Catalog("made", tmp_path, table, ("a",))
    assert catalog.table["id"].tolist() == ["9", "10", "p", "p09_2", "p9_2", "p9_11", "p10_2"]


def test_every_reader_of_ours_is_described() -> None:
    ours = [spec for name in READERS if (spec := READERS[name]).function.__module__.startswith("preceptor.")]
    assert len(ours) >= 22
    assert [spec.name for spec in ours if not (spec.about.title and spec.about.tasks and spec.layout)] == []
    own = ("folder", "table", "phantom", "dicom")
    assert [spec.name for spec in ours if not spec.about.licence and spec.name not in own] == []


def test_attributes_of_isic2019(isic: Path) -> None:
    catalog = read("isic2019", isic)
    assert catalog.attribute_names == ("age", "sex", "site")
    assert catalog.attributes.iloc[1].to_dict() == {"age": "55", "site": "", "sex": "female"}


def test_litter_of_a_mac_is_no_image(isic: Path) -> None:
    (isic / "ISIC_2019_Training_Input" / "._ISIC_0000001.jpg").write_bytes(b"x")
    assert not any("does not name" in note for note in read("isic2019", isic).notes)


def test_lgg_from_one_level_above_and_from_the_folder_of_the_second_copy(brains: Path) -> None:
    (brains / "lgg-mri-segmentation").mkdir()
    shutil.copytree(brains / "kaggle_3m", brains / "lgg-mri-segmentation" / "kaggle_3m")
    shutil.copytree(brains / "kaggle_3m", brains / "up" / "archive" / "kaggle_3m")
    for root in (brains, brains / "lgg-mri-segmentation", brains / "up"):
        assert len(read("lgg", root)) == 13


def test_the_real_slices(real: Callable[[str], Path]) -> None:
    from preceptor.data.check import check

    catalog = read("lgg", real("LGG"))
    assert catalog.counts() == {"no tumour": 229, "tumour": 103}
    assert catalog.table["group"].nunique() == 12
    assert catalog.table.groupby("group")["label"].value_counts()["TCGA_HT_7475", "tumour"] == 14
    report = check(catalog)
    assert report.ok
    assert report.sizes == {(128, 128): 332}
    assert report.modes == {"RGB": 332}
    assert len(report.empty_masks) == 229
    assert report.smeared_masks == ()


def test_the_real_isic2019_sample(real: Callable[[str], Path]) -> None:
    catalog = read("isic2019", real("ISIC2019_sample"))
    assert len(catalog.classes) == 8
    assert set(catalog.counts().values()) == {20}
    assert catalog.table["group"].nunique() == 160
    assert catalog.table["id"].str.endswith("_downsampled").sum() == 15
    assert catalog.notes[0] == "this copy has 160 of the 25,331 published images"
    assert catalog.notes[1].startswith("6 images have no lesion_id")


def test_the_real_tiles(real: Callable[[str], Path]) -> None:
    catalog = read("histopathologic", real("histopathologic-cancer-detection"), {"balanced": "10"})
    assert catalog.counts() == {"no tumour": 5, "tumour": 5}
    assert np.asarray(Image.open(catalog.path(0))).shape == (96, 96, 3)
