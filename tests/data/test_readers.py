"""Readers on generated copies of the published layouts, on every bad copy we know of, and on the real copies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from preceptor.data.catalog import Catalog
from preceptor.data.readers import READERS, ReaderSpec, read, reader
from preceptor.utils.errors import PreceptorError

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
MASKS = "HAM10000_segmentations_lesion_tschandl"


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 8, 3), 90, np.uint8)).save(path)


@pytest.fixture
def ham(tmp_path: Path) -> Path:
    """Two images of each class, of one lesion, one in each part; with masks."""
    root = tmp_path / "ham"
    rows = ["lesion_id,image_id,dx,dx_type,age,sex,localization"]
    for number, name in enumerate(CLASSES * 2):
        image_id = f"ISIC_{number:07d}"
        part = 1 if number < 7 else 2
        rows.append(f"HAM_{number % 7:07d},{image_id},{name},histo,,unknown,scalp")
        picture(root / f"HAM10000_images_part_{part}" / f"{image_id}.jpg")
        picture(root / MASKS / f"{image_id}_segmentation.png")
    (root / "HAM10000_metadata.csv").write_text("\n".join(rows) + "\n")
    return root


def edit(old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / "HAM10000_metadata.csv"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def test_ham10000(ham: Path) -> None:
    catalog = read("ham10000", ham)
    assert len(catalog) == 14
    assert catalog.classes == CLASSES
    assert catalog.counts() == dict.fromkeys(CLASSES, 2)
    assert catalog.has_masks
    assert catalog.attributes.iloc[0].to_dict() == {"age": "", "sex": "", "site": "scalp"}
    first = catalog.table.iloc[0, :5].to_dict()
    assert first == {
        "id": "ISIC_0000000",
        "image": "HAM10000_images_part_1/ISIC_0000000.jpg",
        "label": "akiec",
        "group": "HAM_0000000",
        "mask": f"{MASKS}/ISIC_0000000_segmentation.png",
    }
    assert all(catalog.path(row).is_file() for row in range(14))
    assert any("14 of the 10,015" in note for note in catalog.notes)


def test_ham10000_by_its_parent_and_under_dataverse_name(ham: Path) -> None:
    (ham / "HAM10000_metadata.csv").rename(ham / "HAM10000_metadata")
    assert read("ham10000", ham.parent).root == ham
    shutil.copytree(ham, ham.parent / "copy")
    with pytest.raises(PreceptorError, match="several copies of HAM10000: copy, ham"):
        read("ham10000", ham.parent)


def test_ham10000_without_the_mask_folder_says_so(ham: Path) -> None:
    shutil.rmtree(ham / MASKS)
    catalog = read("ham10000", ham)
    assert not catalog.has_masks
    assert any("no lesion masks" in note for note in catalog.notes)


def test_ham10000_masks_are_wanted_or_left_alone(ham: Path) -> None:
    assert read("ham10000", ham).mask_classes == ("background", "lesion")
    bare = read("ham10000", ham, {"masks": "false"})
    assert not bare.has_masks
    assert bare.mask_classes == ()
    (ham / MASKS / "ISIC_0000004_segmentation.png").unlink()
    assert len(read("ham10000", ham, {"masks": "false"})) == 14
    with pytest.raises(PreceptorError, match=r"lacks 1 of 14 masks: ISIC_0000004_\S+\n(.*\n).*data\.masks=false"):
        read("ham10000", ham, {"masks": "true"})
    shutil.rmtree(ham / MASKS)
    with pytest.raises(PreceptorError, match=f"{MASKS} is missing"):
        read("ham10000", ham, {"masks": True})
    with pytest.raises(PreceptorError, match=r"data\.masks=maybe .* valid boolean.* 'auto'"):
        read("ham10000", ham, {"masks": "maybe"})


def test_ham10000_masks_in_a_folder_within_the_folder(ham: Path) -> None:
    (ham / MASKS).rename(ham / "inner")
    (ham / MASKS).mkdir()
    (ham / "inner").rename(ham / MASKS / MASKS)
    catalog = read("ham10000", ham)
    assert catalog.has_masks
    assert catalog.path(0, "mask").is_file()


def test_ham10000_unpacked_into_folders_of_their_own_name(ham: Path) -> None:
    for part in ("HAM10000_images_part_1", "HAM10000_images_part_2"):
        (ham / part).rename(ham / "inner")
        (ham / part).mkdir()
        (ham / "inner").rename(ham / part / part)
    assert all(read("ham10000", ham).path(row).is_file() for row in range(14))


def test_ham10000_counts_files_that_the_table_does_not_name(ham: Path) -> None:
    picture(ham / "HAM10000_images_part_1" / "ISIC_9999999.jpg")
    catalog = read("ham10000", ham)
    assert len(catalog) == 14
    assert any(note.startswith("1 image files that") for note in catalog.notes)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda root: (root / "HAM10000_metadata.csv").unlink(), r"holds no HAM10000_metadata\.csv"),
        (lambda root: shutil.rmtree(root / "HAM10000_images_part_2"), r"folder \S+part_2 is missing"),
        (lambda root: (root / "HAM10000_images_part_1/ISIC_0000003.jpg").unlink(), "1 image without a file.*0000003"),
        (lambda root: (root / MASKS / "ISIC_0000004_segmentation.png").unlink(), "lacks 1 of 14 masks.*0000004"),
        (lambda root: picture(root / "HAM10000_images_part_2/ISIC_0000000.jpg"), r"ISIC_0000000\.jpg lies in both"),
        (edit("lesion_id", "lesion"), "has no column 'lesion_id'. Did you mean 'lesion'"),
        (edit("ISIC_0000001,bcc", "ISIC_0000001,bbc"), "unknown dx 'bbc' on line 3. Did you mean 'bcc'"),
        (edit("ISIC_0000001,bcc", "ISIC_0000001,"), "no 'dx' on line 3"),
        (edit("HAM_0000001,", ","), "no 'lesion_id' on line 3"),
        (edit("ISIC_0000001", "ISIC_0000000"), "more than once: ISIC_0000000"),
        (edit("bcc,histo,,", "bcc,histo,"), "lines do not have 7 fields: 3"),
        (lambda root: (root / "HAM10000_metadata.csv").write_bytes(b""), "is empty"),
        (lambda root: (root / "HAM10000_metadata.csv").write_bytes(b"\xff\xfe\x00a"), "cannot be read"),
    ],
)
def test_bad_copies_of_ham10000(ham: Path, damage: Callable[[Path], None], match: str) -> None:
    damage(ham)
    with pytest.raises(PreceptorError, match=match):
        read("ham10000", ham)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    for name in ("cat/p1_a.jpg", "cat/p1_b.PNG", "dog/p2_a.jpg", "dog/deep/p3_a.tif"):
        picture(tmp_path / name)
    (tmp_path / "dog" / ".DS_Store").touch()
    return tmp_path


def test_folder(classes: Path) -> None:
    catalog = read("folder", classes)
    assert catalog.table["id"].tolist() == ["cat/p1_a", "cat/p1_b", "dog/deep/p3_a", "dog/p2_a"]
    assert catalog.table["label"].tolist() == ["cat", "cat", "dog", "dog"]
    assert catalog.table["group"].tolist() == catalog.table["id"].tolist()
    assert any("no groups known" in note for note in catalog.notes)


def test_folder_groups_by_pattern(classes: Path) -> None:
    catalog = read("folder", classes, {"group_pattern": "^(p[0-9])_"})
    assert catalog.table["group"].tolist() == ["p1", "p1", "p3", "p2"]
    assert not catalog.notes


@pytest.mark.parametrize(
    ("damage", "options", "match"),
    [
        (lambda root: (root / "bird").mkdir(), {}, "no images in bird/"),
        (lambda root: picture(root / "lost.jpg"), {}, r"lie in no class: lost\.jpg"),
        (lambda root: (root / "cat/scan.dcm").touch(), {}, r"1 files are of formats that are not read \(\.dcm\)"),
        (lambda root: shutil.rmtree(root / "cat"), {}, "one directory of a class, dog/, and so one class only"),
        (lambda root: picture(root / "cat/p1_a.png"), {}, r"ending only: cat/p1_a\.jpg, cat/p1_a\.png"),
        (lambda root: None, {"group_pattern": "^(q)"}, r"finds no group in cat/p1_a\.jpg"),
        (lambda root: None, {"group_pattern": "p[0-9]"}, "has 0 groups"),
        (lambda root: None, {"group_pattern": "(p"}, "group_pattern"),
        (lambda root: [shutil.rmtree(root / name) for name in ("cat", "dog")], {}, "holds no directories"),
    ],
)
def test_bad_folders(classes: Path, damage: Callable[[Path], object], options: dict[str, str], match: str) -> None:
    damage(classes)
    with pytest.raises(PreceptorError, match=match):
        read("folder", classes, options)


def csv(root: Path, text: str, name: str = "labels.csv") -> Path:
    for number in range(4):
        picture(root / f"{number}.png")
    (root / name).write_text(text)
    return root


def test_table_keeps_labels_as_written_and_orders_numbers(tmp_path: Path) -> None:
    catalog = read("table", csv(tmp_path, "image,label\n0.png,10\n1.png,9\n2.png,0\n3.png,9\n"))
    assert catalog.classes == ("0", "9", "10")
    assert catalog.labels.tolist() == [2, 1, 0, 1]
    assert catalog.table["id"].tolist() == ["0.png", "1.png", "2.png", "3.png"]
    assert any("no groups known" in note for note in catalog.notes)


def test_classes_called_na_or_none_are_classes(tmp_path: Path) -> None:
    catalog = read("table", csv(tmp_path, "image,label\n0.png,NA\n1.png,None\n2.png,null\n"))
    assert catalog.classes == ("NA", "None", "null")


def test_table_with_columns_of_other_names(tmp_path: Path) -> None:
    root = csv(tmp_path, "\ufeffname;file;truth;patient;seg\nx;0.png;a;p;1.png\ny;2.png;b;p;\n")
    options = {"id": "name", "image": "file", "label": "truth", "group": "patient", "mask": "seg", "separator": ";"}
    catalog = read("table", root / "labels.csv", options)
    assert catalog.table.to_dict("records") == [
        {"id": "x", "image": "0.png", "label": "a", "group": "p", "mask": "1.png"},
        {"id": "y", "image": "2.png", "label": "b", "group": "p", "mask": ""},
    ]
    assert catalog.notes == ("1 of 2 images have no mask (data.empty_masks=true takes them as showing nothing)",)


def test_a_table_with_masks_alone(tmp_path: Path) -> None:
    root = csv(tmp_path, "image,mask,group\n0.png,1.png,p\n2.png,3.png,q\n")
    catalog = read("table", root, {"mask_classes": "background, disc,cup"})
    assert not catalog.has_labels
    assert catalog.has_masks
    assert catalog.labels.tolist() == [0, 0]
    assert catalog.mask_classes == ("background", "disc", "cup")
    assert catalog.notes == ("no labels: for segmentation only",)
    two = read("table", root)
    assert two.mask_classes == ("background", "foreground")
    assert two.fingerprint() != catalog.fingerprint()
    assert read("table", csv(tmp_path, "image,label\n0.png,a\n")).has_labels


@pytest.mark.parametrize(
    ("text", "options", "match"),
    [
        ("image,mask\n0.png,1.png\n2.png,\n", {}, "no 'mask' on line 3"),
        ("image,mask,lable\n0.png,1.png,a\n", {}, "no column 'label'. Did you mean 'lable'"),
        ("image,mask\n0.png,1.png\n", {"label": "dx"}, "no column 'dx'"),
        ("image,group\n0.png,1\n", {}, "no column 'label'"),
        ("image,label\n0.png,a\n", {"mask_classes": "a,b"}, "names no masks"),
        ("image,mask\n0.png,1.png\n", {"mask_classes": "lesion"}, "mask_classes=lesion"),
        ("image,mask\n0.png,1.png\n", {"mask_classes": "a,b,a"}, "mask_classes=a,b,a"),
        ("image,label\n0.png,a\n1.png,\n", {}, "no 'label' on line 3"),
        ("image,label\n0.png,a\n1.png,NaN\n", {}, "no 'label' on line 3"),
        ("image,label\n0.png,a\n9.png,b\n", {}, r"1 image files that are not there: 9\.png \(line 3\)"),
        ("image,label,mask\n0.png,a,9.png\n", {}, r"1 mask files that are not there: 9\.png"),
        ("image,label\n0.png,a\n0.png,b\n", {}, r"more than once: 0\.png \(line 2, 3\)"),
        ("image,label,n\n0.png,a,1\n1.png,b,1\n", {"id": "n"}, "more than once: 1"),
        ("image,lable\n0.png,a\n", {}, "no column 'label'. Did you mean 'lable'"),
        ("image,label\n0.png,a\n", {"group": "patient"}, "no column 'patient'"),
        ("image,label,label\n0.png,a,b\n", {}, "twice: label"),
        ("image,label\n0.png,a\n1.png,a ,\n", {}, "do not have 2 fields: 3"),
        ("image,label\n0.png,a\n1.png,a \n", {}, "blanks around them: 'a '"),
        ("image,label\n", {}, "no images"),
        ("image,label\n0.png,a\n", {"csv": "other.csv"}, r"holds no file other\.csv"),
        ("image,label\n0.png,a\n", {"separator": ";;"}, "cannot be read"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, options: dict[str, str], match: str) -> None:
    with pytest.raises(PreceptorError, match=match):
        read("table", csv(tmp_path, text), options)


def test_several_tables_must_be_told_apart(tmp_path: Path) -> None:
    csv(tmp_path, "image,label\n0.png,a\n", "one.csv")
    csv(tmp_path, "image,label\n1.png,b\n", "two.csv")
    with pytest.raises(PreceptorError, match=r"several CSV files: one\.csv, two\.csv"):
        read("table", tmp_path)
    assert read("table", tmp_path, {"csv": "two.csv"}).classes == ("b",)


def test_options_are_typed_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def example(root: Path, count: int = 3, exact: bool = False) -> Catalog:
        raise NotImplementedError

    spec = ReaderSpec("example", example, "", True, {"count": int, "exact": bool})
    assert spec.convert({"count": "5", "exact": "true"}) == {"count": 5, "exact": True}
    with pytest.raises(PreceptorError, match=r"data\.cuont: .* Did you mean 'count'"):
        spec.convert({"cuont": "5"})
    with pytest.raises(PreceptorError, match=r"data\.count=many .*valid integer"):
        spec.convert({"count": "many"})
    with pytest.raises(PreceptorError, match=r"data\.sepatator: .* Did you mean 'separator'"):
        read("table", tmp_path, {"sepatator": ";"})


def test_unknown_readers_and_roots(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="Did you mean 'ham10000'"):
        read("ham1000", tmp_path)
    with pytest.raises(PreceptorError, match="needs to know where the data are"):
        read("folder")
    for name in ("folder", "table", "ham10000"):
        with pytest.raises(PreceptorError, match="nowhere does not exist"):
            read(name, tmp_path / "nowhere")


def test_a_reader_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"folder", "ham10000", "phantom", "table"} <= set(READERS)
    monkeypatch.setattr(READERS, "_entries", dict(READERS._entries))
    given = read("table", csv(tmp_path, "image,label\n0.png,a\n"))

    @reader("mine", layout="one CSV")
    def mine(root: Path, times: int = 1) -> Catalog:
        assert (root, times) == (tmp_path, 4)
        return given

    assert read("mine", tmp_path, {"times": "4"}) is given
    assert READERS["mine"].defaults == {"times": 1}


def test_the_real_ham10000(real: Callable[[str], Path]) -> None:
    catalog = read("ham10000", real("HAM10000"))
    assert catalog.counts() == dict(akiec=327, bcc=514, bkl=1099, df=115, mel=1113, nv=6705, vasc=142)
    assert catalog.table["group"].nunique() == 7470
    assert catalog.has_masks
    assert catalog.notes == ()


def test_a_real_table_of_histology_tiles(real: Callable[[str], Path], tmp_path: Path) -> None:
    root = real("histopathologic-cancer-detection")
    table = next(root.rglob("train_labels.csv"))
    rows = [line.split(",") for line in table.read_text().split()]
    lines = ["id,image,label", *(f"{tile},train/{tile}.tif,{label}" for tile, label in rows[1:])]
    (table.parent / "tiles.csv").write_text("\n".join(lines))
    catalog = read("table", table.parent, {"csv": "tiles.csv", "id": "id"})
    assert catalog.counts() == {"0": 10, "1": 5}
