"""Readers of further published data sets, on small made-up copies of their layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import made_up_copies as copies
import numpy as np
import pandas as pd
import pytest

from preceptor.data.cache import open_pixels
from preceptor.data.catalog import Catalog
from preceptor.data.check import check
from preceptor.data.readers import READERS, read
from preceptor.data.sources import array_of
from preceptor.data.split import make_split
from preceptor.utils.errors import PreceptorError

MAKERS: dict[str, Callable[[Path], None]] = {
    "medmnist": copies.medmnist,
    "pcam": copies.pcam,
    "isic2018": copies.isic2018_classes,
    "isic2020": copies.isic2020,
    "isic2024": copies.isic2024,
    "pad_ufes_20": copies.pad_ufes_20,
    "chestxray14": copies.chestxray14,
    "chexpert": copies.chexpert,
    "fitzpatrick17k": copies.fitzpatrick17k,
    "ddi": copies.ddi,
    "derm7pt": copies.derm7pt,
    "busi": copies.busi,
    "breakhis": copies.breakhis,
    "kvasir_seg": copies.kvasir_seg,
}


def counts(catalog: Catalog, column: str) -> dict[str, int]:
    return catalog.table[column].value_counts().to_dict()


@pytest.mark.parametrize("name", MAKERS)
def test_every_copy_can_be_read_decoded_and_told_of(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path)
    catalog = read(name, tmp_path)
    report = check(catalog)
    assert report.ok, report.unreadable
    assert len(catalog.fingerprint()) == 64
    pixels = open_pixels(catalog, 16, masks=catalog.has_masks, directory=tmp_path / "cache")
    assert len(pixels) == len(catalog)
    about = READERS[name].about
    assert about.title
    assert about.images
    assert about.licence
    assert set(catalog.attribute_names) <= set(about.attributes)
    assert about.parts or not catalog.has_parts
    assert about.groups != "none" or catalog.table["group"].nunique() == len(catalog)


@pytest.mark.parametrize("name", MAKERS)
def test_a_folder_with_something_else_is_refused(tmp_path: Path, name: str) -> None:
    copies.photo(tmp_path / "holiday" / "beach.jpg")
    with pytest.raises(PreceptorError, match=r"hold|no such|is not a folder") as caught:
        read(name, tmp_path)
    assert caught.value.expected


@pytest.mark.parametrize("name", sorted({*READERS} - {"phantom"}))
@pytest.mark.parametrize("archive", ["Data.ZIP", "data.tar.gz"])
def test_an_archive_is_refused_with_what_to_do(tmp_path: Path, name: str, archive: str) -> None:
    (tmp_path / archive).write_bytes(b"PK")
    with pytest.raises(PreceptorError, match=f"{archive} is an archive") as caught:
        read(name, tmp_path / archive)
    assert "unpack the archive and give its folder" in caught.value.remedy


@pytest.mark.parametrize("name", sorted({*READERS} - {"phantom", "table", "medmnist"}))
def test_a_file_is_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "labels.csv").write_text("image,label")
    with pytest.raises(PreceptorError, match=r"labels.csv is not a folder") as caught:
        read(name, tmp_path / "labels.csv")
    assert "archive" not in str(caught.value)


def test_medmnist_keeps_the_official_split(tmp_path: Path) -> None:
    copies.medmnist(tmp_path)
    catalog = read("medmnist", tmp_path)
    assert catalog.classes[4] == "melanoma"
    assert counts(catalog, "part") == {"train": 14, "validation": 7, "test": 7}
    assert make_split(catalog)["part"].tolist() == catalog.table["part"].tolist()
    pixels = open_pixels(catalog, 28, directory=tmp_path / "cache")
    images = array_of(tmp_path / "dermamnist.npz", "val_images")
    row = catalog.table["id"].tolist().index("val-000003")
    np.testing.assert_array_equal(pixels.images[row], images[3].transpose(2, 0, 1))
    assert catalog.table.at[row, "label"] == catalog.classes[3]


def test_medmnist_by_flag_and_size_in_grey_and_with_several_labels(tmp_path: Path) -> None:
    copies.medmnist(tmp_path)
    copies.medmnist(tmp_path, "chestmnist", 14, 64, grey=True)
    assert read("medmnist", tmp_path).classes[4] == "melanoma"
    chest = read("medmnist", tmp_path, {"flag": "chestmnist", "size": "64"})
    assert chest.label_names[1] == "cardiomegaly"
    assert chest.label_matrix is not None
    assert set(np.unique(chest.label_matrix)) == {0, 1}
    copies.medmnist(tmp_path, "pneumoniamnist", 2, grey=True)
    with pytest.raises(PreceptorError, match="several archives"):
        read("medmnist", tmp_path)
    with pytest.raises(PreceptorError, match=r"no organamnist\.npz; it holds chestmnist_64\.npz"):
        read("medmnist", tmp_path, {"flag": "organamnist"})
    copies.medmnist(tmp_path, "pneumoniamnist", 3)
    with pytest.raises(PreceptorError, match="values 0 to 2"):
        read("medmnist", tmp_path / "pneumoniamnist.npz")
    (tmp_path / "pneumoniamnist.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(PreceptorError, match="cannot be opened"):
        read("medmnist", tmp_path / "pneumoniamnist.npz")


def test_pcam_groups_by_slide(tmp_path: Path) -> None:
    copies.pcam(tmp_path)
    catalog = read("pcam", tmp_path)
    assert counts(catalog, "part") == {"train": 8, "validation": 4, "test": 4}
    assert catalog.table["group"].nunique() == 8
    assert catalog.labels[:4].tolist() == [0, 1, 0, 1]
    (tmp_path / "camelyonpatch_level_2_split_test_meta.csv").unlink()
    assert any("4 tiles without a known slide" in note for note in read("pcam", tmp_path).notes)
    (tmp_path / "camelyonpatch_level_2_split_test_y.h5").unlink()
    with pytest.raises(PreceptorError, match=r"test_y\.h5 does not exist"):
        read("pcam", tmp_path)


def test_isic2018_masks_and_classes(tmp_path: Path) -> None:
    copies.isic2018_classes(tmp_path)
    classes = read("isic2018", tmp_path)
    assert classes.counts() == dict.fromkeys(("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"), 2)
    assert classes.table["group"].nunique() == 7
    assert not classes.has_parts, "the training part alone is not a split"
    copies.isic2018_masks(tmp_path)
    with pytest.raises(PreceptorError, match="holds tasks 1 and 3"):
        read("isic2018", tmp_path)
    masks = read("isic2018", tmp_path, {"task": "1"})
    assert masks.has_masks
    assert not masks.has_labels
    assert counts(masks, "part") == {"train": 4, "validation": 2}
    next((tmp_path / "ISIC2018_Task1_Training_GroundTruth").iterdir()).unlink()
    with pytest.raises(PreceptorError, match="lacks the masks of 1 images"):
        read("isic2018", tmp_path, {"task": 1})


def test_isic2020_keeps_patients_and_listed_duplicates_together(tmp_path: Path) -> None:
    copies.isic2020(tmp_path)
    catalog = read("isic2020", tmp_path)
    assert catalog.counts() == {"benign": 6, "malignant": 2}
    groups = dict(zip(catalog.table["id"], catalog.table["group"], strict=True))
    assert groups["ISIC_0"] == groups["ISIC_1"] == groups["ISIC_6"] == groups["ISIC_7"] != groups["ISIC_2"]
    assert catalog.attributes.iloc[0].to_dict() == {"sex": "male", "age": "45", "site": "torso", "diagnosis": ""}
    (tmp_path / "ISIC_2020_Training_Duplicates.csv").unlink()
    assert read("isic2020", tmp_path).table["group"].nunique() == 4


def test_isic2024_from_the_container_and_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    copies.isic2024(tmp_path / "one")
    copies.isic2024(tmp_path / "two", container=False)
    inside, outside = read("isic2024", tmp_path / "one"), read("isic2024", tmp_path / "two")
    assert inside.table["group"].tolist() == ["IP_0", "IP_0", "IP_1", "IP_1", "IP_2", "IP_2"]
    assert outside.table["group"].tolist() == inside.table["group"].tolist()
    pixels = [open_pixels(catalog, 9, directory=tmp_path / "cache").images for catalog in (inside, outside)]
    np.testing.assert_array_equal(*pixels)
    assert inside.attributes["source"].tolist() == ["UQ"] * 6


def test_pad_ufes_20_in_doubled_folders(tmp_path: Path) -> None:
    copies.pad_ufes_20(tmp_path)
    catalog = read("pad_ufes_20", tmp_path)
    assert catalog.counts() == dict.fromkeys(("ACK", "BCC", "MEL", "NEV", "SCC", "SEK"), 2)
    assert catalog.table["group"].nunique() == 6
    assert catalog.attributes["skin_tone"].tolist() == ["", *["3.0"] * 11]
    copies.photo(tmp_path / "imgs" / "PAT_0_0.png")
    with pytest.raises(PreceptorError, match="1 images lie in several places"):
        read("pad_ufes_20", tmp_path)


def test_chestxray14_has_several_findings_and_the_official_test_part(tmp_path: Path) -> None:
    copies.chestxray14(tmp_path)
    catalog = read("chestxray14", tmp_path)
    assert catalog.counts()["Mass"] == 4
    assert counts(catalog, "part") == {"train": 6, "test": 2}
    assert catalog.table["label"].tolist()[:3] == ["", "Mass|Effusion", "Mass"]
    assert catalog.table["group"].nunique() == 4
    path = tmp_path / "Data_Entry_2017_v2020.csv"
    path.write_text(path.read_text().replace("Hernia", "Hernai", 1))
    with pytest.raises(PreceptorError, match=r"unknown finding in 'Hernai' \(line 5\)"):
        read("chestxray14", tmp_path)


def test_chexpert_labels_may_be_uncertain(tmp_path: Path) -> None:
    copies.chexpert(tmp_path)
    matrices = {}
    for uncertain in ("missing", "positive", "negative"):
        catalog = read("chexpert", tmp_path, {"uncertain": uncertain})
        matrices[uncertain] = catalog.label_matrix
    assert np.isnan(matrices["missing"][:, 1]).all()
    assert (matrices["positive"][:, 1] == 1).all()
    assert (matrices["negative"][:, 1] == 0).all()
    assert (matrices["missing"][:, 4:] == 0).all(), "not mentioned is absent"
    assert counts(catalog, "part") == {"train": 6, "test": 2}
    assert catalog.table["group"].iloc[0] == "patient00000"
    assert len(read("chexpert", tmp_path, {"view": "frontal"})) == 4


@pytest.mark.parametrize("name", ["train.csv", "valid.csv"])
def test_chexpert_cannot_choose_a_view_that_a_table_does_not_state(tmp_path: Path, name: str) -> None:
    copies.chexpert(tmp_path)
    path = tmp_path / name
    pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns="Frontal/Lateral").to_csv(path, index=False)
    with pytest.raises(PreceptorError, match=f"{name} has no column 'Frontal/Lateral', which data.view=frontal needs"):
        read("chexpert", tmp_path, {"view": "frontal"})
    assert len(read("chexpert", tmp_path)) == 8


def test_fitzpatrick17k_leaves_out_what_cannot_be_had_and_says_so(tmp_path: Path) -> None:
    copies.fitzpatrick17k(tmp_path)
    catalog = read("fitzpatrick17k", tmp_path)
    assert len(catalog) == 5
    assert any("1 of the 6 rows have no image file" in note for note in catalog.notes)
    assert catalog.classes == ("benign", "malignant", "non-neoplastic")
    assert catalog.attributes["skin_tone"].tolist() == ["", "1", "2", "3", "4"]
    assert len(read("fitzpatrick17k", tmp_path, {"classes": "condition"}).classes) == 4


@pytest.mark.parametrize("truth", ["malignant", "malignancy(malig=1)"])
def test_ddi_under_both_names_of_its_label(tmp_path: Path, truth: str) -> None:
    copies.ddi(tmp_path, truth)
    catalog = read("ddi", tmp_path)
    assert catalog.labels.tolist() == [0, 1, 0, 1]
    assert catalog.attributes["skin_tone"].tolist() == ["12", "34", "56", "12"]


def test_derm7pt_one_image_of_a_case_or_both(tmp_path: Path) -> None:
    copies.derm7pt(tmp_path)
    one, both = read("derm7pt", tmp_path), read("derm7pt", tmp_path / "release_v0", {"image": "both"})
    assert one.counts() == dict.fromkeys(("BCC", "NEV", "MEL", "MISC", "SK"), 3)
    assert counts(one, "part") == {"train": 5, "validation": 5, "test": 5}
    assert len(both) == 30
    assert both.table["group"].nunique() == 15
    assert set(both.attributes["modality"]) == {"derm", "clinic"}
    copies.table(tmp_path / "release_v0/meta/test_indexes.csv", ("indexes",), [(number,) for number in range(9, 15)])
    with pytest.raises(PreceptorError, match="that another part has too"):
        read("derm7pt", tmp_path)


def test_busi_unites_the_masks_of_an_image(tmp_path: Path) -> None:
    copies.busi(tmp_path)
    catalog = read("busi", tmp_path)
    assert catalog.counts() == {"benign": 2, "malignant": 2, "normal": 2}
    assert catalog.table.at[0, "mask"] == "benign/benign (1)_mask.png|benign/benign (1)_mask_1.png"
    (tmp_path / "Dataset_BUSI_with_GT/normal/normal (1)_mask.png").unlink()
    with pytest.raises(PreceptorError, match=r"1 images have no mask: normal/normal \(1\)\.png"):
        read("busi", tmp_path)


def test_breakhis_by_patient_magnification_and_type(tmp_path: Path) -> None:
    copies.breakhis(tmp_path)
    catalog = read("breakhis", tmp_path)
    assert catalog.counts() == {"benign": 4, "malignant": 2}
    assert set(catalog.table["group"]) == {"14-22549AB", "14-21998CD", "14-2523"}
    fine = read("breakhis", tmp_path, {"magnification": 40, "classes": "eight"})
    assert fine.counts()["phyllodes tumour"] == 1
    assert len(fine) == 3


def test_kvasir_seg_cuts_the_smear_of_its_masks(tmp_path: Path) -> None:
    copies.kvasir_seg(tmp_path)
    catalog = read("kvasir_seg", tmp_path)
    assert catalog.has_masks
    assert check(catalog).smeared_masks == ("cju0", "cju1", "cju2")
    (tmp_path / "Kvasir-SEG/masks/cju1.jpg").unlink()
    with pytest.raises(PreceptorError, match=r"1 files without their counterpart: cju1\.jpg"):
        read("kvasir_seg", tmp_path)
