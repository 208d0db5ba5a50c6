"""The table reader and CSV files on tables as spreadsheets, data bases and benchmarks write them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from preceptor.data.csvfile import LINE, read_csv
from preceptor.data.groups import tidied
from preceptor.data.readers import read
from preceptor.data.sources import EMPTY_MASK
from preceptor.tasks import TASKS
from preceptor.utils.errors import PreceptorError


def table(root: Path, text: str, *images: str) -> Path:
    for number, name in enumerate(images or [f"{number}.png" for number in range(6)]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (number, 0, 0)).save(root / name)
    (root / "t.csv").write_text(text)
    return root


def rows(header: str, *cells: str) -> str:
    return "\n".join([header, *(f"{number}.png{cell}" for number, cell in enumerate(cells))]) + "\n"


def notes_of(root: Path, **options: object) -> str:
    return "\n".join(read("table", root, options).notes)


# CSV files


def test_csv_files_of_spreadsheets(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbfsep=;\r\na;b;;\r\n1;2,5;;\r\n3;;;\r\n\r\n")
    assert read_csv(path, ("a", "b")).to_dict("list") == {"a": ["1", "3"], "b": ["2,5", ""], LINE: [3, 4]}
    path.write_bytes("a\tb\rÄ\t1\r".encode("utf-16"))
    assert read_csv(path, ("a",), separator=r"\t", encoding="utf-16")["a"].tolist() == ["Ä"]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"a;b\n1;2\n", r"one field with the separator ','.*\n.*here ';' seems to be\n.*data.separator=';'"),
        (b"a\tb\n1\t2\n", r"data.separator='\\t'"),
        ("a,b\n".encode("utf-16"), "it is UTF-16"),
        ("ä,b\n".encode("cp1252"), r"cannot be read: .*utf-8(.*\n)*.*data.encoding=cp1252"),
        (b"PK\x03\x04\xff\xff", "it is a workbook"),
        (b"a,b,,\n1,2,3,4\n", "2 columns have values and no name"),
        (b"a,b\n1,2\n\0\0\n", "do not have 2 fields: 3"),
    ],
)
def test_csv_files_that_say_what_is_the_matter(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(PreceptorError, match=match):
        read_csv(tmp_path / "t.csv", ("a", "b"))


def test_a_header_of_many_columns_is_read_in_no_time(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(20_000)]
    (tmp_path / "t.csv").write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    assert len(read_csv(tmp_path / "t.csv", ("c19999",)).columns) == 20_001


# Files


def test_files_are_found_however_the_table_spells_them(tmp_path: Path) -> None:
    umlaut = "Nävus.PNG"
    images = ["images/0001.jpg", "scans/B.JPG", "deep/er/c.png", unicodedata.normalize("NFD", umlaut), "e.png"]
    cells = ["0001,a", "scans\\b.jpg,a", "c.png,b", f"{unicodedata.normalize('NFC', umlaut)},b", "./e.png,a"]
    catalog = read("table", table(tmp_path, "\n".join(["image,label", *cells]), *images))
    assert sorted(catalog.table["image"]) == sorted(images)
    assert "4 files are spelled differently in the table" in "\n".join(catalog.notes)


def test_names_that_fit_several_files_are_not_guessed(tmp_path: Path) -> None:
    root = table(tmp_path, "image,label\n1,a\n", "left/1.png", "right/1.png")
    with pytest.raises(PreceptorError, match=r"several files, such as 1: left/1\.png, right/1\.png(.*\n)*.*folder="):
        read("table", root)
    assert read("table", root, {"folder": "right"}).table["image"].tolist() == ["right/1.png"]


def test_one_file_under_two_names_is_found(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match=r"more than once: 1\.png \(line 2, 3\)"):
        read("table", table(tmp_path, "image,label\n./1.png,a\n1.png,b\n"))


# Groups


def test_spellings_of_a_patient_are_one_group_and_no_patient_is_none() -> None:
    written = ["P01", "p01", "P01\u00a0", "P02", "NA", "unknown", " ", "P02"]
    groups, notes = tidied(pd.Series(written), pd.Series(list("abcdefgh")))
    assert groups.tolist() == ["P01", "P01", "P01", "P02", "e", "f", "g", "P02"]
    assert notes[0].startswith("1 groups differ in blanks or case alone")
    assert notes[1].startswith("the group of 3 images is missing ('', 'NA', 'unknown')")
    assert tidied(pd.Series(["a", "b"]), pd.Series(["1", "2"]))[1] == []


def test_groups_of_a_file_replace_those_of_the_data_set(tmp_path: Path) -> None:
    root = table(tmp_path, rows("image,label", ",a", ",b", ",a"))
    (root / "groups").write_text("id,group\n0.png,p\n2.png,p\n")
    catalog = read("table", root, {"groups_csv": str(root / "groups")})
    assert catalog.table["group"].tolist() == ["p", "1.png", "p"]
    (root / "groups").write_text("id,group\n9.png,p\n")
    with pytest.raises(PreceptorError, match=r"not in the data set: 9\.png"):
        read("table", root, {"groups_csv": str(root / "groups")})


# Labels


def test_numbers_are_ordered_by_value(tmp_path: Path) -> None:
    root = table(tmp_path, rows("image,label", ",10.0", ",2.0", ",-1", ",2"))
    assert read("table", root).classes == ("-1", "2", "2.0", "10.0")


def test_one_column_for_each_class(tmp_path: Path) -> None:
    root = table(tmp_path, rows("image,MEL,NV", ",1,0", ",0.0,1.0", ",1,0"))
    with pytest.raises(PreceptorError, match=r"one-hot(.*\n)*.*data.labels=MEL,NV"):
        read("table", root)
    catalog = read("table", root, {"labels": "MEL,NV"})
    assert catalog.classes == ("MEL", "NV")
    assert catalog.labels.tolist() == [0, 1, 0]
    assert catalog.label_matrix is None


def test_several_labels_an_image(tmp_path: Path) -> None:
    root = table(tmp_path, rows("image,Edema,Mass", ",1,1", ",0,", ",0,1", ",0,0"))
    catalog = read("table", root, {"labels": "Edema,Mass"})
    assert catalog.label_names == catalog.classes == ("Edema", "Mass")
    np.testing.assert_array_equal(catalog.label_matrix, [[1, 1], [0, np.nan], [0, 1], [0, 0]])
    assert catalog.table["label"].tolist() == ["Edema|Mass", "", "Mass", ""]
    with pytest.raises(PreceptorError, match=r"than 1, 0 or nothing .* on line 2"):
        read("table", table(tmp_path, rows("image,Edema,Mass", ",2,1")), {"labels": "Edema,Mass"})


@pytest.mark.parametrize("names", ["[Edema,Mass]", "['Edema', \"Mass\"]", " [ Edema , Mass ] "])
def test_columns_may_be_listed_in_brackets(names: str, tmp_path: Path) -> None:
    """As other lists on the command line are written: ``folds=[0,1]``."""
    catalog = read("table", table(tmp_path, rows("image,Edema,Mass", ",1,1", ",0,0")), {"labels": names})
    assert catalog.label_names == ("Edema", "Mass")


def test_brackets_of_the_columns_own_names_stay(tmp_path: Path) -> None:
    catalog = read("table", table(tmp_path, rows("image,[a],[b]", ",1,1", ",0,0")), {"labels": "[a],[b]"})
    assert catalog.label_names == ("[a]", "[b]")


def test_labels_joined_in_a_cell_are_not_silently_classes(tmp_path: Path) -> None:
    root = table(tmp_path, rows("image,label", ",Edema", ",Edema|Mass", ",Mass", ","))
    with pytest.raises(PreceptorError, match="no 'label' on line 5"):
        read("table", root)
    assert "'Edema|Mass' look like several labels" in notes_of(root, unlabelled=True)
    catalog = read("table", root, {"label_separator": "|"})
    np.testing.assert_array_equal(catalog.label_matrix, [[1, 0], [1, 1], [0, 1], [0, 0]])


def test_unlabelled_images_are_kept_on_request(tmp_path: Path) -> None:
    root = table(tmp_path, rows("image,label", ",a", ",", ",b"))
    catalog = read("table", root, {"unlabelled": "true"})
    assert catalog.classes == ("a", "b")
    assert catalog.labelled.tolist() == [True, False, True]
    assert "1 images are unlabelled" in catalog.notes


# Parts, attributes, masks


def test_prescribed_parts(tmp_path: Path) -> None:
    root = table(tmp_path, rows("image,label,set", ",a,Train", ",b,val", ",a,test"))
    assert "the column 'set' names parts that are not used (data.split=set takes them)" in notes_of(root)
    assert read("table", root, {"split": "set"}).table["part"].tolist() == ["train", "validation", "test"]
    with pytest.raises(PreceptorError, match="label is 'a' on line 2, 3, 4"):
        read("table", root, {"split": "label"})


def test_attributes(tmp_path: Path) -> None:
    root = table(tmp_path, rows("image,label,sex,age", ",a,f,50", ",b,nan,70"))
    assert read("table", root).attribute_names == ()
    assert read("table", root, {"attributes": "age, sex"}).attributes.to_dict("list") == {
        "age": ["50", "70"],
        "sex": ["f", ""],
    }
    with pytest.raises(PreceptorError, match="no column 'site'"):
        read("table", root, {"attributes": "site"})


def test_names_may_be_a_list_as_plans_write_them(tmp_path: Path) -> None:
    root = table(tmp_path, rows("image,label,sex,age", ",a,f,50", ",b,m,70"))
    assert read("table", root, {"attributes": ["age", "sex"]}).attribute_names == ("age", "sex")


def test_words_for_nothing_are_no_value_of_an_attribute(tmp_path: Path) -> None:
    """A patient of unknown sex is in no subgroup, and one unknown age does not turn ages into names."""
    root = table(tmp_path, rows("image,label,sex,age", ",a,F,31", ",b,unknown,N/A"))
    catalog = read("table", root, {"attributes": "sex,age"})
    assert catalog.attributes.to_dict("list") == {"sex": ["F", ""], "age": ["31", ""]}
    assert "attribute sex: 1 × unknown taken as not recorded" in catalog.notes
    assert "attribute age: 1 × N/A taken as not recorded" in catalog.notes


def test_an_empty_cell_is_an_empty_mask_on_request(tmp_path: Path) -> None:
    root = table(tmp_path, rows("image,mask", ",3.png", ",", ",4.png"))
    catalog = read("table", root, {"empty_masks": True})
    assert catalog.table["mask"].tolist() == ["3.png", EMPTY_MASK, "4.png"]
    assert catalog.has_masks
    assert len(catalog.fingerprint()) == 64


def test_one_class_is_nothing_to_classify(tmp_path: Path) -> None:
    catalog = read("table", table(tmp_path, rows("image,label", ",a", ",a")))
    with pytest.raises(PreceptorError, match="all images are of one class, 'a'"):
        TASKS["classification"].classes(catalog)


def test_a_table_of_masks_names_the_images_without_one(tmp_path: Path) -> None:
    root = table(tmp_path, rows("image,mask", ",3.png", ","))
    with pytest.raises(PreceptorError, match=r"on line 3: 1 of 2 images have no mask") as caught:
        read("table", root)
    assert "data.empty_masks=true" in caught.value.remedy
